"""What all data sets have in common: where they lie, how they complain, how true motion is found."""

from __future__ import annotations

import logging
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Protocol, TypedDict

from medreg.data.published_splits import PublishedSplit
from medreg.data.records import Pair, Record
from medreg.errors import DataError, DatasetNotFound

logger = logging.getLogger(__name__)


class Generator(Protocol):
    """Something that writes a data set once, such as a phantom."""

    def ensure(self) -> Path:
        """Write the data unless they are there; return their folder."""


class SourceOptions(TypedDict, total=False):
    """Options that every data set takes, see `DataSource`."""

    prepare: Generator | None
    skip_bad: bool
    exclude: Sequence[str]


class DataSource(ABC):
    """A data set as it lies on disk.

    Subclasses scan their layout strictly: what is missing, misnamed or contradictory is a `problem`, which is
    an error or, with `skip_bad`, is counted and left out.

    Args:
        root: folder of the data set.
        prepare: writes the data first and says where; overrides root.
        skip_bad: leave out what is not in order instead of stopping.
        exclude: subjects to leave out.
    """

    title: ClassVar[str]  # name of the data set
    source: ClassVar[str]  # where to get it

    def __init__(
        self,
        root: str | Path,
        *,
        prepare: Generator | None = None,
        skip_bad: bool = False,
        exclude: Sequence[str] = (),
    ) -> None:
        self.root = Path(root).expanduser()
        self.generator = prepare
        self.skip_bad = skip_bad
        self.exclude = frozenset(str(name) for name in exclude)
        self.left_out: list[str] = []
        self.passed_over: dict[str, list[str]] = {}  # why → subjects

    def ensure(self) -> None:
        """Write a generated data set if need be; nothing for others."""
        if self.generator is not None:
            self.root = Path(self.generator.ensure())

    def records(self) -> list[Record]:
        """Return all records, sorted by subject, modality and phase.

        Raises:
            DatasetNotFound: nothing is there, or nothing of this layout.
            DataError: the layout is damaged, unless `skip_bad`.
        """
        self.left_out, self.passed_over = [], {}
        missing = self.missing()
        if missing:
            raise self.not_found(missing)
        found = [record for record in self.scan() if record.subject not in self.exclude]
        if not found:
            raise (
                self.nothing_left()
                if self.left_out
                else self.not_found("the folder exists but holds no image of this layout")
            )
        if self.left_out:
            logger.warning(
                "%s: %d entries left out (data.dataset.skip_bad=true).", self.title, len(self.left_out)
            )
        found.sort(key=lambda r: (r.subject, r.modality, -1 if r.frame is None else r.frame, r.phase))
        return _unique(found)

    def missing(self) -> str:
        """Say why the data set cannot be there; empty if it may."""
        return "" if self.root.is_dir() else "the folder does not exist"

    @abstractmethod
    def scan(self) -> list[Record]:
        """Return the records of the layout in any order."""

    def listed_pairs(self, records: Sequence[Record]) -> list[Pair]:
        """Return the pairs that the data set itself names; none for most."""
        return []

    def labels(self) -> dict[str, int]:
        """Return names and codes of structures that the data set itself states; empty for most."""
        return {}

    def published_splits(self) -> Mapping[str, PublishedSplit]:
        """Return divisions of the subjects that papers have published, by name; none for most."""
        return {}

    def notes(self) -> list[str]:
        """Return what was left out by rule, not by error, such as "3 people (a, b, c) lack T2 and are left out"."""
        return [
            f"{len(names)} people ({', '.join(names[:5])}{', …' if len(names) > 5 else ''}) {why} and are left out"
            for why, names in self.passed_over.items()
        ]

    def pass_over(self, subject: str, why: str) -> None:
        """Note that a subject is left out by rule, and why: what it lacks, as the end of a sentence."""
        self.passed_over.setdefault(why, []).append(subject)

    def aliases(self) -> dict[str, str]:
        """Return other names of subjects that a user's split file may contain."""
        return {}

    def truth(self, fixed: Record, moving: Record) -> Path | None:
        """Return the known motion: `truth/<fixed>__<moving>_displacement.nii.gz` beside the images."""
        file = self.truth_folder(fixed) / f"{fixed.stem}__{moving.stem}_displacement.nii.gz"
        return file if file.is_file() else None

    def truth_folder(self, fixed: Record) -> Path:
        """Return the folder in which `truth` looks."""
        return fixed.image.parent / "truth"

    def problem(self, message: str) -> None:
        """Stop with a DataError, or count what is left out.

        Raises:
            DataError: unless `skip_bad`.
        """
        if not self.skip_bad:
            raise DataError(f"{message} Mend it, or leave such entries out with data.dataset.skip_bad=true.")
        self.left_out.append(message)

    def nothing_left(self) -> DataError:
        """Return the error of a data set of which no entry is in order, with what is wrong with the first."""
        more = len(self.left_out) - 1
        return DataError(
            f"{self.title} in {self.root.absolute()} has no entry that is in order. {self.left_out[0]}"
            + (f" So {more} more." if more else "")
        )

    def not_found(self, reason: str) -> DatasetNotFound:
        """Return the error that names the folder, the option, the source and what works at once."""
        return DatasetNotFound(
            f"{self.title} was not found in {self.root.absolute()}: {reason}. Set data.dataset.root=FOLDER, or "
            f"MEDREG_DATA to the folder that holds your data sets. {self.source} Without any download, "
            "data=cardiac_phantom and data=brain_phantom work now."
        )


def visible(folder: Path) -> list[Path]:
    """Return the entries of a folder sorted by name, without dot-files (`.DS_Store`, `._image.nii.gz`)."""
    return sorted((p for p in folder.iterdir() if not p.name.startswith(".")), key=lambda p: p.name)


def first_existing(*files: Path) -> Path | None:
    """Return the first path that is a file."""
    return next((file for file in files if file.is_file()), None)


def nifti(folder: Path, name: str) -> Path | None:
    """Return `name.nii.gz` or `name.nii` in a folder, if there is one."""
    return first_existing(folder / f"{name}.nii.gz", folder / f"{name}.nii")


def told(
    row: Mapping[str, str], names: Mapping[str, str], *, categories: Collection[str] = ()
) -> dict[str, float | str]:
    """Return the covariates of a row of a table: numbers where the text is one, other texts as categories.

    Args:
        row: column → text.
        names: covariate → column; covariates whose column is missing or empty are left out.
        categories: covariates that are categories though they look like numbers.

    Raises:
        DataError: a number with a decimal comma, which would become a category.
    """
    found: dict[str, float | str] = {}
    for name, column in names.items():
        text = (row.get(column) or "").strip()
        if text:
            found[name] = text if name in categories else _number_or_text(name, text)
    return found


def _number_or_text(name: str, text: str) -> float | str:
    if re.fullmatch(r"[-+]?\d+,\d+", text):
        raise DataError(f"{name} is {text!r} in the table of the data set; write numbers with a point.")
    try:
        number = float(text)
    except ValueError:
        return text
    if math.isinf(number):
        raise DataError(f"{name} is {text!r} in the table of the data set; give a number, or leave it empty.")
    return number


def _unique(records: list[Record]) -> list[Record]:
    seen: dict[str, Record] = {}
    for record in records:
        if record.id in seen:
            raise DataError(f"{record.describe()} and {seen[record.id].describe()} are both {record.id}.")
        seen[record.id] = record
    return records
