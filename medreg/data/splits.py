"""Training, validation and test sets, always by subject."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

from medreg.data.folds import parts_of
from medreg.data.published_splits import PublishedSplit
from medreg.data.records import Record
from medreg.data.split_sets import SETS, UNLABELLED, Split, assert_disjoint, read_sets
from medreg.errors import ConfigError, DataError

logger = logging.getLogger(__name__)
Item = TypeVar("Item")


@dataclass(frozen=True)
class SubjectSplit:
    """How subjects are divided.

    A file decides everything, and so does a published split by name. Else sets that the data set names stay what they
    are, and fractions of the remaining subjects, shuffled with a seed, fill the others.

    Attributes:
        published: true (or None) uses the sets that the data set names, false does not; a name takes the published
            split of that name, see `DataSource.published_splits`, as far as its subjects are there.
        val: fraction of the subjects not published as val or test that become validation; unused if val is
            published.
        test: likewise for test.
        seed: of the shuffle; independent of the seed of the run, so that all runs see the same test subjects.
        file: CSV with columns subject and split, or JSON {subject: split} or {split: [subjects]}.
        train_on_evaluation: keep validation and test subjects in the training set too, as the official
            Learn2Reg training lists do; results on them are then not results on unseen subjects.
        select: number of training subjects that become validation (for choosing the checkpoint) instead of
            the fraction `val`, where the data set publishes no validation subjects.
        folds: parts for cross-validation: part `fold` is the test set; None for none.
        fold: from 0; of `folds`, of a published split, or else of the draw of labelled subjects.
        leak: what becomes of validation subjects that a published split trains on: "removed" from validation, or
            "published" to keep them there.
    """

    published: bool | str | None
    val: float
    test: float
    seed: int
    file: str | None = None
    train_on_evaluation: bool = False
    select: int | None = None
    folds: int | None = None
    fold: int = 0
    leak: Literal["removed", "published"] = "removed"

    def __post_init__(self) -> None:
        if self.select is not None and self.select < 0:
            raise ConfigError(f"data.split.select is {self.select}; give a number of subjects or null.")
        if min(self.val, self.test) < 0 or self.val + self.test > 1:
            raise ConfigError(
                f"data.split.val={self.val} and data.split.test={self.test}: fractions lie in [0, 1] and sum "
                "to at most 1."
            )
        if self.leak not in ("removed", "published"):
            raise ConfigError(f"data.split.leak is {self.leak!r}; choose removed or published.")
        self._check_folds()

    def _check_folds(self) -> None:
        if self.folds is not None and self.folds < 2:
            raise ConfigError(f"data.split.folds is {self.folds}; give a number of 2 or more, or null.")
        if self.fold < 0 or (self.folds is not None and self.fold >= self.folds):
            known = "0 or more" if self.folds is None else f"from 0 to {self.folds - 1} (data.split.folds)"
            raise ConfigError(f"data.split.fold is {self.fold}; it must be {known}.")
        ways = {
            "data.split.file": self.file is not None,
            "data.split.folds": self.folds is not None,
            f"data.split.published={self.published}": self.named,
        }
        given = [way for way, chosen in ways.items() if chosen]
        if len(given) > 1:
            raise ConfigError(
                f"{given[0]} and {given[1]} both say which subjects are tested; set one of them to null."
            )
        if self.named and (self.select is not None or self.train_on_evaluation):
            other = "select" if self.select is not None else "train_on_evaluation"
            raise ConfigError(
                f"data.split.{other} changes the published split {self.published}; leave it as it is by default, or "
                "set data.split.published=true."
            )

    @property
    def named(self) -> bool:
        """Whether a published split is taken by its name."""
        return isinstance(self.published, str)

    def assign(
        self,
        records: Sequence[Record],
        *,
        aliases: dict[str, str] | None = None,
        splits: Mapping[str, PublishedSplit] | None = None,
        labelled: int | None = None,
    ) -> Split:
        """Divide the subjects of some records.

        Args:
            records: all records.
            aliases: other names of subjects that a split file may use (a number that is hashed elsewhere).
            splits: published splits of the data set by name.
            labelled: number of training subjects with labels, for which a published split has sets.

        Raises:
            DataError: the file names unknown subjects or sets, or a subject is in two sets.
            ConfigError: options that do not fit the data set.
        """
        subjects = sorted({record.subject for record in records})
        if self.fold and self.folds is None and not self.named and labelled is None:
            logger.warning(
                "data.split.fold=%d has no effect without data.split.folds, a published split or data.labelled.",
                self.fold,
            )
        if isinstance(self.published, str):
            return self._published(self.published, subjects, splits or {}, labelled)
        if self.file is not None:
            sets = read_sets(Path(self.file).expanduser(), subjects, aliases or {})
        else:
            sets = self._drawn(records, subjects)
        assert_disjoint(sets)
        if self.train_on_evaluation:
            logger.warning(
                "Validation and test subjects are also trained on (data.split.train_on_evaluation=true)."
            )
            sets["train"] = {record.subject for record in records if record.trainable} - sets[UNLABELLED]
        train, val, test, unlabelled = (tuple(sorted(sets[stage])) for stage in SETS)
        return Split(train, val, test, self._selection(records, len(val)), unlabelled)

    def _published(
        self, name: str, subjects: Sequence[str], splits: Mapping[str, PublishedSplit], labelled: int | None
    ) -> Split:
        """Return a published split of the subjects that are there, and say what differs from it."""
        if name not in splits:
            known = f"this data set has {', '.join(splits)}" if splits else "none is known for this data set"
            raise ConfigError(
                f"data.split.published={name}: there is no published split of that name ({known}). Set true for the "
                "sets that the data set itself names, or false."
            )
        sets = splits[name].sets(labelled, self.fold)
        missing = sorted(set().union(*sets.values()) - set(subjects))
        sets = {stage: names & set(subjects) for stage, names in sets.items()}
        for stage in ("train", "test"):
            if not sets[stage]:
                raise DataError(
                    f"data.split.published={name}: none of its {stage} subjects of fold {self.fold} is in the data. "
                    "Correct data.dataset.root, or set data.split.published=true."
                )
        seen = sorted(sets["train"] & sets["val"])
        if self.leak == "removed":
            sets["val"] -= set(seen)
            assert_disjoint(sets)
        text = f"{len(sets['val'])} validation subjects of the published split {name}, fold {self.fold}"
        if seen:
            done = "left out of them" if self.leak == "removed" else "among them (data.split.leak=published)"
            text += f"; {', '.join(seen)} of the training set {'is' if len(seen) == 1 else 'are'} {done}"
        if missing:
            text += f"; not in the data: {', '.join(missing)}"
        if seen or missing:
            logger.warning("The checkpoint is chosen by %s.", text)
        train, val, test, unlabelled = (tuple(sorted(sets[stage])) for stage in SETS)
        return Split(train, val, test, text, unlabelled, tuple(missing))

    def _selection(self, records: Sequence[Record], count: int) -> str:
        """Say which subjects choose the checkpoint, and whether reported ones were trained on."""
        if self.file is not None:
            text = f"{count} subjects of {Path(self.file).name}"
        elif self.published is not False and any(record.split == "val" for record in records):
            text = f"the {count} validation subjects that the data set publishes"
        else:
            text = f"{count} subjects set aside from the training pool (data.split.seed={self.seed})"
        return f"{text}; evaluation subjects are trained on too" if self.train_on_evaluation else text

    def _drawn(self, records: Sequence[Record], subjects: Sequence[str]) -> dict[str, set[str]]:
        sets: dict[str, set[str]] = {stage: set() for stage in SETS}
        if self.published is not False:
            for record in records:
                if record.split in ("val", "test"):
                    sets[record.split].add(record.subject)
        self._check_selection(sets)
        if self.folds is not None:
            sets["test"] = self._part(records, sets)
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

    def _part(self, records: Sequence[Record], published: Mapping[str, set[str]]) -> set[str]:
        """Return the test subjects of this fold."""
        assert self.folds is not None
        named = published["val"] | published["test"]
        if named:
            raise ConfigError(
                f"data.split.folds={self.folds}: the data set itself names {len(named)} validation or test subjects. "
                "Set data.split.published=false to divide all subjects, or data.split.folds=null."
            )
        return set(parts_of(records, self.folds, self.seed)[self.fold])

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
