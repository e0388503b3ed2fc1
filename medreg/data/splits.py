"""Training, validation and test sets, always by subject."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from medreg.data.records import Record
from medreg.data.tables import read_rows, read_text
from medreg.errors import ConfigError, DataError
from medreg.io.atomic import write_text

logger = logging.getLogger(__name__)
STAGES = ("train", "val", "test")
Item = TypeVar("Item")


@dataclass(frozen=True)
class Split:
    """Subjects of each set, sorted.

    Attributes:
        train: subjects to learn from.
        val: subjects that choose the checkpoint.
        test: subjects that are reported.
        selection: a sentence for reports on where the validation subjects come from.
    """

    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]
    selection: str = field(default="", compare=False)

    def subjects(self, stage: str) -> tuple[str, ...]:
        """Return the subjects of "train", "val" or "test"."""
        return {"train": self.train, "val": self.val, "test": self.test}[stage]

    def save(self, path: str | Path) -> Path:
        """Write `subject,split` rows; the file can be given back as `data.split.file`."""
        rows = [f"{subject},{stage}" for stage in STAGES for subject in self.subjects(stage)]
        return write_text(Path(path), "\n".join(["subject,split", *rows]) + "\n")


@dataclass(frozen=True)
class SubjectSplit:
    """How subjects are divided.

    A file decides everything; else published sets stay what they are, and fractions of the remaining
    subjects, shuffled with a seed, fill the sets that are not published.

    Attributes:
        published: use the sets that the data set names.
        val: fraction of the subjects not published as val or test that become validation; unused if val is
            published.
        test: likewise for test.
        seed: of the shuffle; independent of the seed of the run, so that all runs see the same test subjects.
        file: CSV with columns subject and split, or JSON {subject: split} or {split: [subjects]}.
        train_on_evaluation: keep validation and test subjects in the training set too, as the official
            Learn2Reg training lists do; results on them are then not results on unseen subjects.
        select: number of training subjects that become validation (for choosing the checkpoint) instead of
            the fraction `val`, where the data set publishes no validation subjects.
    """

    published: bool
    val: float
    test: float
    seed: int
    file: str | None = None
    train_on_evaluation: bool = False
    select: int | None = None

    def __post_init__(self) -> None:
        if self.select is not None and self.select < 0:
            raise ConfigError(f"data.split.select is {self.select}; give a number of subjects or null.")
        if min(self.val, self.test) < 0 or self.val + self.test > 1:
            raise ConfigError(
                f"data.split.val={self.val} and data.split.test={self.test}: fractions lie in [0, 1] and sum "
                "to at most 1."
            )

    def assign(self, records: Sequence[Record], *, aliases: dict[str, str] | None = None) -> Split:
        """Divide the subjects of some records.

        Args:
            records: all records.
            aliases: other names of subjects that a split file may use (a number that is hashed elsewhere).

        Raises:
            DataError: the file names unknown subjects or sets, or a subject is in two sets.
        """
        subjects = sorted({record.subject for record in records})
        if self.file is not None:
            sets = _from_file(Path(self.file).expanduser(), subjects, aliases or {})
        else:
            sets = self._drawn(records, subjects)
        assert_disjoint(sets)
        if self.train_on_evaluation:
            logger.warning(
                "Validation and test subjects are also trained on (data.split.train_on_evaluation=true)."
            )
            sets["train"] = {record.subject for record in records if record.trainable}
        train, val, test = (tuple(sorted(sets[stage])) for stage in STAGES)
        return Split(train, val, test, self._selection(records, len(val)))

    def _selection(self, records: Sequence[Record], count: int) -> str:
        """Say which subjects choose the checkpoint, and whether reported ones were trained on."""
        if self.file is not None:
            text = f"{count} subjects of {Path(self.file).name}"
        elif self.published and any(record.split == "val" for record in records):
            text = f"the {count} validation subjects that the data set publishes"
        else:
            text = f"{count} subjects set aside from the training pool (data.split.seed={self.seed})"
        return f"{text}; evaluation subjects are trained on too" if self.train_on_evaluation else text

    def _drawn(self, records: Sequence[Record], subjects: Sequence[str]) -> dict[str, set[str]]:
        sets: dict[str, set[str]] = {stage: set() for stage in STAGES}
        if self.published:
            for record in records:
                if record.split in ("val", "test"):
                    sets[record.split].add(record.subject)
        self._check_selection(sets)
        pool = [subject for subject in subjects if subject not in sets["val"] | sets["test"]]
        shuffled = [pool[i] for i in np.random.default_rng(self.seed).permutation(len(pool))]
        count = {"val": _count(self.val, len(pool)), "test": _count(self.test, len(pool))}
        if self.select is not None:
            count["val"] = self.select
        for stage in ("test", "val"):
            if not sets[stage]:
                sets[stage], shuffled = set(shuffled[: count[stage]]), shuffled[count[stage] :]
        if self.select and not shuffled:
            raise ConfigError(
                f"data.split.select={self.select} leaves none of {len(pool)} training subjects to train on."
            )
        sets["train"] = set(shuffled)
        return sets

    def _check_selection(self, published: dict[str, set[str]]) -> None:
        if self.select is not None and published["val"]:
            raise ConfigError(
                f"data.split.select={self.select} has no effect: the data set publishes "
                f"{len(published['val'])} validation subjects. Report them as test cases "
                "(data.dataset.validation_as=test for Learn2Reg) or leave data.split.select=null."
            )


def _count(fraction: float, total: int) -> int:
    """Number of subjects of a fraction: rounded, but at least one where any are asked for."""
    wanted = round(fraction * total)
    return max(wanted, 1) if fraction > 0 and total > 1 else min(wanted, total)


def assert_disjoint(sets: dict[str, set[str]]) -> None:
    """Raise where a subject is in two sets.

    Raises:
        DataError: naming the subjects.
    """
    for first, second in (("train", "val"), ("train", "test"), ("val", "test")):
        both = sorted(sets[first] & sets[second])
        if both:
            raise DataError(
                f"{len(both)} subjects are in both {first} and {second} ({', '.join(both[:5])}); a subject "
                "belongs to one set. Correct the split."
            )


def kept_by(items: Sequence[Item], fraction: float) -> list[Item]:
    """First int(n·r) of the sorted items.

    Raises:
        ConfigError: the fraction is not in (0, 1] or leaves nothing.
    """
    if not 0 < fraction <= 1:
        raise ConfigError(f"data.limit_train_fraction is {fraction}; it lies in (0, 1].")
    # 1e-9: 0.29 · 100 is 28.999… in floating point
    count = int(len(items) * fraction + 1e-9)
    if items and count == 0:
        raise ConfigError(
            f"data.limit_train_fraction={fraction} leaves none of {len(items)} training subjects."
        )
    return list(items[:count])


def repeat_to(items: Sequence[Item], length: int) -> list[Item]:
    """Repeat items in order up to a length."""
    return [items[i % len(items)] for i in range(length)] if items else []


def _from_file(path: Path, subjects: Sequence[str], aliases: dict[str, str]) -> dict[str, set[str]]:
    sets: dict[str, set[str]] = {stage: set() for stage in STAGES}
    unknown, known = [], set(subjects)
    for name, stage in _rows(path):
        if stage not in sets:
            raise DataError(f"{path}: {name} is in set {stage!r}; choose train, val or test.")
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
