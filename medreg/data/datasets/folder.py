"""A user's own images: a CSV file with one image, or one pair, a row."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Collection, Hashable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Unpack

from medreg.data.datasets.base import DataSource, SourceOptions, told
from medreg.data.grouping import check_one_set, connected, file_key
from medreg.data.records import Pair, Record
from medreg.data.tables import read_rows
from medreg.errors import DataError
from medreg.io.frames import split_frame

KINDS = ("label", "mask", "landmarks")  # files that may belong to an image
SPLITS = ("train", "val", "test", "")


class Listing(DataSource):
    """Images that a CSV names, relative to itself; `file.nii.gz#2` is frame 2 (0-based) of a 4-D file.

    Args:
        root: the CSV file, or a folder that holds one of the usual name.
        **options: of every data set; `exclude` takes ids of rows.
    """

    name: ClassVar[str]  # usual name of the CSV
    row_name: ClassVar[str]  # what a row is, in the ids of rows without one
    sides: ClassVar[tuple[str, ...]]  # columns of images
    more: ClassVar[tuple[str, ...]] = ()  # further columns with a meaning
    strict: ClassVar[bool] = True  # refuse columns without one

    @cached_property
    def table(self) -> Path:
        """The CSV file."""
        return self.root / self.name if self.root.is_dir() else self.root

    def missing(self) -> str:
        """Say that there is no CSV; empty if there is one."""
        return "" if self.table.is_file() else f"there is no file {self.table.name}"

    @abstractmethod
    def column(self, side: str, kind: str) -> str:
        """Return the column of a label map, mask or landmarks."""

    def rows(self) -> list[dict[str, str]]:
        """Return the rows whose files exist, every known column present.

        Raises:
            DataError: columns that are missing or unknown, no row, a split or id that is not in order, a missing file.
        """
        files = [self.column(side, kind) for kind in KINDS for side in self.sides]
        known = (*self.sides, *files, "split", "id", *self.more)
        rows = read_rows(self.table, *self.sides, allowed=known if self.strict else ())
        if not rows:
            raise DataError(f"{self.table} has no rows below its header; write one for each {self.row_name}.")
        rows = [{**dict.fromkeys(known, ""), **row} for row in rows]
        for number, row in enumerate(rows, start=1):
            row["id"] = row["id"] or f"{self.row_name}{number:03d}"
            if row["split"] not in SPLITS:
                raise DataError(
                    f"{self.table}: row {row['id']} has split {row['split']!r}; train, val or test."
                )
        twice = [name for name, count in Counter(row["id"] for row in rows).items() if count > 1]
        if twice:
            raise DataError(f"{self.table}: the id {twice[0]!r} occurs more than once.")
        paths = (*self.sides, *files)
        return [row for row in rows if row["id"] not in self.exclude and self._complete(row, paths)]

    def record(self, row: dict[str, str], side: str, subject: str, *, name: str, phase: str = "") -> Record:
        """Return the image of a row."""
        image, frame = self._path(row[side])
        cells = {kind: row[self.column(side, kind)] for kind in KINDS}
        found = {kind: self._path(cell) for kind, cell in cells.items() if cell}
        label, label_frame = found.get("label", (None, None))
        for kind in ("mask", "landmarks"):
            if found.get(kind, (None, None))[1] is not None:
                raise DataError(f"{self.table}: {cells[kind]!r}: only images and label maps have frames.")
        mask, points = (found[kind][0] if kind in found else None for kind in ("mask", "landmarks"))
        return Record(
            subject,
            image,
            label,
            mask,
            points,
            frame=frame,
            label_frame=label_frame,
            phase=phase,
            split=row["split"] or None,
            id=name,
        )

    def _complete(self, row: dict[str, str], paths: Sequence[str]) -> bool:
        names = [row[name] for name in paths if row[name] or name in self.sides]
        missing = [name for name in names if not name or not self._path(name)[0].is_file()]
        if missing:
            named = ", ".join(name or "an empty cell" for name in missing)
            hint = " Paths are written with /, not \\." if any("\\" in name for name in missing) else ""
            self.problem(
                f"{self.table}: row {row['id']} names missing files: {named} (relative to "
                f"{self.table.parent.absolute()}).{hint}"
            )
        return not missing

    def _path(self, cell: str) -> tuple[Path, int | None]:
        file, frame = split_frame(self.table.parent / cell)
        if frame is None and "#" in file.name and not file.exists():
            raise DataError(f"{self.table}: {cell!r} should end in #<frame number>.")
        return file, frame


class Folder(Listing):
    """Pairs from a CSV: columns fixed and moving, optionally labels, masks, landmarks, split and id.

    Rows that share an image belong to one subject, so that the same image is never in two sets; it counts as the same
    under any of its names, and frames of one file count as one image.

    Args:
        root: the CSV file, or a folder that holds `pairs.csv`.
        **options: of `Listing`.
    """

    title = "The list of pairs"
    source = "Write a CSV with the columns fixed,moving (paths relative to the CSV) to use your own images."
    name = "pairs.csv"
    row_name = "pair"
    sides = ("fixed", "moving")

    def __init__(self, root: str | Path, **options: Unpack[SourceOptions]) -> None:
        super().__init__(root, **options)
        self._pairs: list[Pair] = []
        self._twice: list[str] = []

    def column(self, side: str, kind: str) -> str:
        """Return the column, such as `fixed_label`."""
        return f"{side}_{kind}"

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

    def notes(self) -> list[str]:
        """Say which rows are the same pair."""
        shown = ", ".join(self._twice[:3]) + (", …" if len(self._twice) > 3 else "")
        return [f"rows are the same pair and count twice: {shown}"] if self._twice else []

    def _read(self) -> list[Pair]:
        rows = self.rows()
        places = [[self._path(row[side]) for side in self.sides] for row in rows]
        keys = [[(file_key(file), frame) for file, frame in ends] for ends in places]
        groups = connected([{file for file, _ in ends} for ends in keys])
        check_one_set(self.table, rows, groups)
        first: dict[Hashable, str] = {}
        same = [
            (first.setdefault(tuple(ends), row["id"]), row["id"])
            for row, ends in zip(rows, keys, strict=True)
        ]
        self._twice = [f"{one} and {other}" for one, other in same if one != other]
        return [self._pair(row, rows[group]["id"]) for row, group in zip(rows, groups, strict=True)]

    def _pair(self, row: dict[str, str], subject: str) -> Pair:
        ends = [self.record(row, side, subject, name=f"{row['id']}_{side}") for side in self.sides]
        return Pair(ends[0], ends[1], id=row["id"], listed=True)


class FolderImages(Listing):
    """Single images from a CSV: column image, optionally label, mask, landmarks, split, id, subject and phase.

    Every other column is a covariate of the subject: a number, or a category where it holds other text. Rows of
    one subject belong to one set; without a column `subject` each row is one.

    Args:
        root: the CSV file, or a folder that holds `images.csv`.
        **options: of `Listing`.
    """

    title = "The list of images"
    source = "Write a CSV with the columns image,label (paths relative to the CSV) to use your own images."
    name = "images.csv"
    row_name = "image"
    sides = ("image",)
    more = ("subject", "phase")
    strict = False

    def column(self, side: str, kind: str) -> str:
        """Return the column, such as `label`."""
        return kind

    def scan(self) -> list[Record]:
        """Return the images of the rows.

        Raises:
            DataError: missing columns or files, or a subject in two sets.
        """
        rows = self.rows()
        known = {*self.sides, *KINDS, *self.more, "split", "id"}
        self._check_subjects(rows)
        files = [file_key(self._path(row["image"])[0]) for row in rows]
        groups = connected(
            [{file, ("subject", _subject(row))} for file, row in zip(files, rows, strict=True)]
        )
        check_one_set(self.table, rows, groups)
        stated: dict[int, dict[str, str]] = {}  # by group, the first row that names its subject
        for row, group in zip(rows, groups, strict=True):
            if row["subject"]:
                stated.setdefault(group, row)
        firsts = [stated.get(group, rows[group]) for group in groups]
        return [self._image(row, first, known) for row, first in zip(rows, firsts, strict=True)]

    def _check_subjects(self, rows: Sequence[dict[str, str]]) -> None:
        splits: dict[str, str] = {}
        for row in rows:
            if splits.setdefault(_subject(row), row["split"]) != row["split"]:
                raise DataError(
                    f"{self.table}: subject {_subject(row)!r} is in two sets; a subject belongs to one."
                )

    def _image(self, row: dict[str, str], first: dict[str, str], known: Collection[str]) -> Record:
        """The image of a row whose subject is that of another one with the same image."""
        if row["subject"] not in ("", first["subject"]):
            raise DataError(
                f"{self.table}: rows {first['id']!r} and {row['id']!r} share an image, directly or through other rows, "
                f"but are of the subjects {first['subject']!r} and {row['subject']!r}."
            )
        found = self.record(row, "image", _subject(first), name=row["id"], phase=row["phase"])
        return replace(found, covariates=told(row, {name: name for name in row if name not in known}))


def _subject(row: dict[str, str]) -> str:
    return row["subject"] or row["id"]
