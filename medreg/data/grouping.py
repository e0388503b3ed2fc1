"""Which rows of a table show the same image, however they write it: what belongs to one set of a split."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from pathlib import Path

from medreg.errors import DataError


def file_key(path: Path) -> Hashable:
    """Return what two names of one file share: `./f`, an absolute path, a symbolic or a hard link.

    Frames of one cine lie in one file, so that they share it too. A missing file is known by its path.
    """
    try:
        status = path.stat()
    except OSError:
        return path.absolute()
    # Some network drives number no files.
    return (status.st_dev, status.st_ino) if status.st_ino else path.resolve()


def connected(sets: Sequence[Collection[Hashable]]) -> list[int]:
    """Return for each set the index of the first one that it is connected with, through members in common."""
    parent = list(range(len(sets)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]  # halves the way, so that long chains stay cheap
            i = parent[i]
        return i

    owner: dict[Hashable, int] = {}
    for i, members in enumerate(sets):
        for member in members:
            first, second = sorted((root(i), root(owner.setdefault(member, i))))
            parent[second] = first
    return [root(i) for i in range(len(sets))]


def check_one_set(file: Path, rows: Sequence[dict[str, str]], groups: Sequence[int]) -> None:
    """Check that connected rows name one set.

    Args:
        file: their table, for the message.
        rows: with `id` and `split`.
        groups: of `connected`.

    Raises:
        DataError: naming two rows.
    """
    for row, group in zip(rows, groups, strict=True):
        first = rows[group]
        if first["split"] != row["split"]:
            raise DataError(
                f"{file}: the images of row {row['id']!r} also occur in a row of another split, or are connected with "
                f"it through other rows (row {first['id']!r} is in {first['split'] or 'none'}, {row['id']!r} in "
                f"{row['split'] or 'none'}). An image, whatever is paired with it, and the frames of one file belong "
                "to one set."
            )
