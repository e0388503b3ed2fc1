"""A user's own images: a CSV file with one pair a row."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from medreg.data.datasets.base import DataSource, Generator
from medreg.data.records import Pair, Record
from medreg.errors import DataError

COLUMNS = (
    "fixed",
    "moving",
    "fixed_label",
    "moving_label",
    "fixed_mask",
    "moving_mask",
    "fixed_landmarks",
    "moving_landmarks",
    "split",
    "id",
)
SPLITS = ("train", "val", "test", "")


class Folder(DataSource):
    """Pairs from a CSV: columns fixed and moving, optionally labels, masks, landmarks, split and id.

    Paths are relative to the CSV. `file.nii.gz#2` is frame 2 (0-based) of a 4-D file. Rows that share an
    image belong to one subject, so that the same image is never in two sets.

    Args:
        root: the CSV file, or a folder that holds `pairs.csv`.
        prepare: a generator of this layout.
        skip_bad: leave out rows with missing files instead of stopping.
        exclude: ids of rows to leave out.
    """

    title = "The list of pairs"
    source = "Write a CSV with the columns fixed,moving (paths relative to the CSV) to use your own images."

    def __init__(
        self,
        root: str | Path,
        *,
        prepare: Generator | None = None,
        skip_bad: bool = False,
        exclude: Sequence[str] = (),
    ) -> None:
        super().__init__(root, prepare=prepare, skip_bad=skip_bad, exclude=exclude)
        self._pairs: list[Pair] = []

    @property
    def table(self) -> Path:
        """The CSV file."""
        return self.root / "pairs.csv" if self.root.is_dir() else self.root

    def missing(self) -> str:
        """Say that there is no CSV; empty if there is one."""
        return "" if self.table.is_file() else f"there is no file {self.table.name}"

    def scan(self) -> list[Record]:
        """Return the images of all pairs.

        Raises:
            DataError: unknown columns, missing files, or an image in two sets.
        """
        self._pairs = self._read()
        return [record for pair in self._pairs for record in (pair.fixed, pair.moving)]

    def listed_pairs(self, records: Sequence[Record]) -> list[Pair]:
        """Return the rows of the CSV."""
        return list(self._pairs)

    def _read(self) -> list[Pair]:
        rows = [row for row in self._rows() if row["id"] not in self.exclude and self._complete(row)]
        groups = _connected([{row["fixed"], row["moving"]} for row in rows])
        splits: dict[int, str] = {}
        for row, group in zip(rows, groups, strict=True):
            if splits.setdefault(group, row["split"]) != row["split"]:
                raise DataError(
                    f"{self.table}: the images of row {row['id']!r} also occur in a row of another split "
                    f"({splits[group] or 'none'} and {row['split'] or 'none'}). An image, and whatever is "
                    "paired with "
                    "it, belongs to one set."
                )
        names = {group: rows[groups.index(group)]["id"] for group in set(groups)}
        return [self._pair(row, names[group]) for row, group in zip(rows, groups, strict=True)]

    def _rows(self) -> list[dict[str, str]]:
        text = self.table.read_text(encoding="utf-8-sig")
        reader = csv.DictReader(text.splitlines(), skipinitialspace=True)
        columns = [name.strip() for name in reader.fieldnames or ()]
        unknown = sorted(set(columns) - set(COLUMNS))
        if unknown or not {"fixed", "moving"} <= set(columns):
            raise DataError(
                f"{self.table} needs the columns fixed and moving"
                + (f" and has the unknown {', '.join(unknown)}" if unknown else "")
                + f"; allowed are {', '.join(COLUMNS)}."
            )
        rows = [{name: (row.get(name) or "").strip() for name in COLUMNS} for row in reader]
        for number, row in enumerate(rows, start=1):
            row["id"] = row["id"] or f"pair{number:03d}"
            if row["split"] not in SPLITS:
                raise DataError(
                    f"{self.table}: row {row['id']} has split {row['split']!r}; train, val or test."
                )
        ids = [row["id"] for row in rows]
        twice = sorted({name for name in ids if ids.count(name) > 1})
        if twice:
            raise DataError(f"{self.table}: the id {twice[0]!r} occurs more than once.")
        return rows

    def _complete(self, row: dict[str, str]) -> bool:
        names = [row[name] for name in COLUMNS[:8] if row[name] or name in ("fixed", "moving")]
        missing = [name for name in names if not name or not self._path(name)[0].is_file()]
        if missing:
            named = ", ".join(name or "an empty cell" for name in missing)
            self.problem(f"{self.table}: row {row['id']} names missing files: {named}.")
        return not missing

    def _path(self, cell: str) -> tuple[Path, int | None]:
        name, mark, frame = cell.partition("#")
        if mark and not frame.isdigit():
            raise DataError(f"{self.table}: {cell!r} should end in #<frame number>.")
        return self.table.parent / name, int(frame) if mark else None

    def _pair(self, row: dict[str, str], subject: str) -> Pair:
        records = []
        for side in ("fixed", "moving"):
            image, frame = self._path(row[side])
            label, label_frame = self._path(row[f"{side}_label"]) if row[f"{side}_label"] else (None, None)
            mask, points = (
                self._path(row[f"{side}_{kind}"])[0] if row[f"{side}_{kind}"] else None
                for kind in ("mask", "landmarks")
            )
            record = Record(
                subject,
                image,
                label,
                mask,
                points,
                frame=frame,
                label_frame=label_frame,
                split=row["split"] or None,
                id=f"{row['id']}_{side}",
            )
            records.append(record)
        return Pair(records[0], records[1], id=row["id"], listed=True)


def _connected(sets: list[set[str]]) -> list[int]:
    """Number of the connected component of each set; sets that share a member are connected."""
    parent = list(range(len(sets)))

    def root(i: int) -> int:
        while parent[i] != i:
            i = parent[i]
        return i

    owner: dict[str, int] = {}
    for i, members in enumerate(sets):
        for member in sorted(members):
            parent[root(i)] = root(owner.setdefault(member, i))
    return [root(i) for i in range(len(sets))]
