"""What weights were trained on, kept in their checkpoint, so that nobody reports it as unseen."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medreg.data.contents import UNREADABLE
from medreg.errors import CheckpointError
from medreg.runs.made_of import Cases, contents_of


@dataclass(frozen=True)
class TrainedOn:
    """What weights have seen: subjects by name, images by the marks of their files.

    Attributes:
        subjects: names within the data set that `source` says.
        images: marks, the same wherever the files lie.
        source: class and place of the data set.
    """

    subjects: frozenset[str] = frozenset()
    images: frozenset[str] = frozenset()
    source: str = ""

    @classmethod
    def of_data(cls, data: Any) -> TrainedOn:
        """Return what a training on a data module sees: images without labels count too."""
        contents = contents_of(data) or {}
        stages = [stage for stage in ("train", "unlabelled") if stage == "train" or contents.get(stage)]
        subjects = frozenset(subject for stage in stages for subject in getattr(data.split, stage))
        images = frozenset[str]().union(*(_images(contents.get(stage, {})) for stage in stages))
        return cls(subjects, images, _source(data))

    @classmethod
    def of_checkpoint(cls, content: Mapping[str, Any], file: Path, data: Any, *, own: Path) -> TrainedOn:
        """Return what a checkpoint says that it has seen, or what split.csv beside it says of an older one.

        Args:
            content: of the checkpoint.
            file: the checkpoint.
            data: module of this command.
            own: run folder of this command, whose split.csv names subjects of the same data set.
        """
        told = (content.get("medreg") or {}).get("trained_on")
        if isinstance(told, Mapping):
            return cls(
                frozenset(told.get("subjects", ())), frozenset(told.get("images", ())), told.get("source", "")
            )
        ours = file.absolute().is_relative_to(own.absolute())
        return cls(frozenset(subjects_of(own, "train")), source=_source(data)) if ours else cls()

    def plain(self) -> dict[str, Any]:
        """Return plain values for a checkpoint."""
        return {"subjects": sorted(self.subjects), "images": sorted(self.images), "source": self.source}

    def and_before(self, other: TrainedOn) -> TrainedOn:
        """Return what weights have seen that saw `other` before; names are comparable within one data set only."""
        same = other.source in ("", self.source)
        return TrainedOn(
            self.subjects | (other.subjects if same else frozenset()), self.images | other.images, self.source
        )

    def covers(self, data: Any) -> bool:
        """Say whether the weights have seen all of the training set of a data module, which is not empty."""
        training = set(data.split.train)
        if self.source == _source(data):
            return bool(training) and training <= self.subjects
        images = _images((contents_of(data) or {}).get("train", {}))
        return bool(images) and images <= self.images

    def seen(self, data: Any) -> list[str]:
        """Return the test subjects of a data module, or else its test cases, that were trained on."""
        if self.source == _source(data):
            return sorted(self.subjects & set(data.split.test))
        found = {
            case: _images({case: kinds}) for case, kinds in (contents_of(data) or {}).get("test", {}).items()
        }
        # All images of a case: an atlas that every case is registered to has been seen, and may be.
        return [case for case, images in found.items() if images and images <= self.images]


def refuse_seen(before: TrainedOn, data: Any, file: Path, option: str) -> None:
    """Refuse to report subjects that weights were trained on as test subjects, unless that is meant.

    Raises:
        CheckpointError: naming them, and what to do.
    """
    if getattr(getattr(data, "splitter", None), "train_on_evaluation", False):
        return
    seen = before.seen(data)
    if seen:
        some = ", ".join(seen[:5]) + (", …" if len(seen) > 5 else "")
        raise CheckpointError(
            f"{option}: {len(seen)} of today's test subjects were trained on by {file} ({some}), so numbers on them "
            "would not be of unseen subjects. Use the split of the training (data.split.file=RUN/split.csv), or train "
            "anew with today's (fresh=true). data.split.train_on_evaluation=true says that this is meant."
        )


def subjects_of(folder: Path, stage: str) -> list[str]:
    """Return the subjects of a set as split.csv of a run folder names them; none where there is no such file."""
    try:
        with (folder / "split.csv").open(newline="", encoding="utf-8") as stream:
            return [row["subject"] for row in csv.DictReader(stream) if row.get("split") == stage]
    except (OSError, UnicodeDecodeError, KeyError, csv.Error):
        return []


def _images(cases: Cases) -> frozenset[str]:
    return frozenset(
        mark
        for kinds in cases.values()
        for kind, mark in kinds.items()
        if kind.endswith("image") and mark != UNREADABLE
    )


def _source(data: Any) -> str:
    """Return class and place of the data set; names of subjects mean the same within one only."""
    dataset = getattr(data, "dataset", None)
    root = getattr(dataset, "root", None)
    return type(dataset or data).__name__ + (f" {Path(root).absolute()}" if root is not None else "")
