"""Divisions of a data set that a paper has published by the names of its subjects, such as its few-shot sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from medreg.errors import ConfigError

Lists = Sequence[int] | Sequence[Sequence[int]]  # numbers of subjects, or such a list for every fold


@dataclass(frozen=True)
class PublishedSplit:
    """Sets of subjects by number, in folds, for some numbers of labelled subjects.

    Attributes:
        title: name of the split, as the option gives it.
        name: form of a subject's name, with its number.
        folds: how many there are.
        test: subjects that are reported.
        val: those that choose the checkpoint, by fold where there are several.
        labelled: number of labelled subjects (None for all) → training subjects, by fold likewise.
        val_of: number of labelled subjects → validation subjects, where they are others than `val`.
        unlabelled: training subjects whose labels are not used.
        labels_of_unlabelled: train on these with their labels.
    """

    title: str
    name: str
    folds: int
    test: Lists
    val: Lists
    labelled: Mapping[int | None, Lists]
    val_of: Mapping[int, Lists] = field(default_factory=dict)
    unlabelled: Lists = ()
    labels_of_unlabelled: bool = False

    def sets(self, labelled: int | None, fold: int) -> dict[str, set[str]]:
        """Return the subjects of "train", "val", "test" and "unlabelled".

        Args:
            labelled: number of labelled subjects; None for all of them.
            fold: from 0.

        Raises:
            ConfigError: there is no such fold, or no set of so many subjects.
        """
        if not 0 <= fold < self.folds:
            known = f"the folds 0 to {self.folds - 1}" if self.folds > 1 else "one fold, 0"
            raise ConfigError(f"data.split.fold={fold}: the published split {self.title} has {known}.")
        if labelled not in self.labelled:
            known = ", ".join(str(count) for count in self.labelled if count is not None)
            raise ConfigError(
                f"data.labelled={labelled}: the split {self.title} is published for "
                f"{f'{known} labelled subjects, and' if known else 'all labels only,'} data.labelled=null. For another "
                "number, data.split.published=true draws the subjects by data.split.seed and data.split.fold."
            )
        val = self.val_of.get(labelled, self.val) if labelled is not None else self.val
        lists = {
            "train": self.labelled[labelled],
            "val": val,
            "test": self.test,
            "unlabelled": self.unlabelled,
        }
        found = {stage: self._names(numbers, fold) for stage, numbers in lists.items()}
        if self.labels_of_unlabelled:
            found["train"] |= found["unlabelled"]
            found["unlabelled"] = set()
        return found

    def _names(self, numbers: Lists, fold: int) -> set[str]:
        by_fold = bool(numbers) and not isinstance(numbers[0], int)
        return {self.name.format(number) for number in (numbers[fold] if by_fold else numbers)}  # type: ignore[union-attr]


def read_published(file: Path) -> dict[str, PublishedSplit]:
    """Return the splits of a YAML file by name."""
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    return {
        title: PublishedSplit(title, content["name"], **entry) for title, entry in content["splits"].items()
    }
