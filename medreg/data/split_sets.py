"""The sets of a split, and the files that they are written to and read from."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

from medreg.data.tables import read_rows, read_text
from medreg.errors import DataError
from medreg.io.atomic import write_text

logger = logging.getLogger(__name__)
STAGES = ("train", "val", "test")
UNLABELLED = "unlabelled"
SETS = (*STAGES, UNLABELLED)
MISSING = "missing"  # in split.csv: subjects of a published set that are not in the data


@dataclass(frozen=True)
class Split:
    """Subjects of each set, sorted.

    Attributes:
        train: subjects to learn from.
        val: subjects that choose the checkpoint.
        test: subjects that are reported.
        selection: a sentence for reports on where the validation subjects come from.
        unlabelled: subjects for training whose labels are not used.
        missing: subjects that a published split names and the data do not hold.
    """

    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]
    selection: str = field(default="", compare=False)
    unlabelled: tuple[str, ...] = ()
    missing: tuple[str, ...] = field(default=(), compare=False)

    def subjects(self, stage: str) -> tuple[str, ...]:
        """Return the subjects of "train", "val", "test" or "unlabelled"."""
        return {"train": self.train, "val": self.val, "test": self.test, UNLABELLED: self.unlabelled}[stage]

    def save(self, path: str | Path) -> Path:
        """Write `subject,split` rows; the file can be given back as `data.split.file`."""
        rows = [f"{subject},{stage}" for stage in SETS for subject in self.subjects(stage)]
        rows += [f"{subject},{MISSING}" for subject in self.missing]
        return write_text(Path(path), "\n".join(["subject,split", *rows]) + "\n")


def assert_disjoint(sets: dict[str, set[str]]) -> None:
    """Raise where a subject is in two sets.

    Raises:
        DataError: naming the subjects.
    """
    for first, second in combinations(sets, 2):
        both = sorted(sets[first] & sets[second])
        if both:
            raise DataError(
                f"{len(both)} subjects are in both {first} and {second} ({', '.join(both[:5])}); a subject "
                "belongs to one set. Correct the split."
            )


def read_sets(path: Path, subjects: Sequence[str], aliases: dict[str, str]) -> dict[str, set[str]]:
    """Return the sets of a split file.

    Args:
        path: CSV with columns subject and split, or JSON {subject: split} or {split: [subjects]}.
        subjects: all that there are; those that the file does not name are left out, with a warning.
        aliases: other names of subjects.

    Raises:
        DataError: the file cannot be read, or names unknown subjects or sets.
    """
    sets: dict[str, set[str]] = {stage: set() for stage in SETS}
    unknown, known = [], set(subjects)
    for name, stage in _rows(path):
        if stage == MISSING:
            continue
        if stage not in sets:
            raise DataError(f"{path}: {name} is in set {stage!r}; choose train, val or test, or unlabelled.")
        subject = aliases.get(name, name)
        if subject in known:
            sets[stage].add(subject)
        else:
            unknown.append(name)
    if unknown:
        raise DataError(
            f"{path} names {len(unknown)} subjects that the data set does not hold"
            + ("." if aliases else f" ({', '.join(unknown[:5])}).")
            + " Correct the file or data.dataset.root."
        )
    left = len(known - {subject for found in sets.values() for subject in found})
    if left:
        logger.warning("%d subjects are not in %s and are left out.", left, path)
    return sets


def _rows(path: Path) -> list[tuple[str, str]]:
    if not path.is_file():
        raise DataError(f"data.split.file is {path}, which does not exist.")
    if path.suffix.lower() == ".json":
        return _json_rows(path)
    return [(row["subject"], row["split"]) for row in read_rows(path, "subject", "split")]


def _json_rows(path: Path) -> list[tuple[str, str]]:
    try:
        content = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise DataError(f"{path} is not valid JSON: {error}.") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} must hold {{subject: split}} or {{split: [subjects]}}.")
    rows: list[tuple[str, str]] = []
    for key, value in content.items():
        rows += [(str(name), key) for name in value] if isinstance(value, list) else [(key, str(value))]
    return rows
