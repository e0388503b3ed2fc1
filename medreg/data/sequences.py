"""Sequences of images: the frames of a cine, or the phases of a subject, in their order in time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from medreg.data.images import ImageData
from medreg.data.images_dataset import ItemDataset
from medreg.data.records import FrameSequence, Record
from medreg.errors import ConfigError


class SequenceData(ImageData):
    """Frames of one subject and contrast, one sequence a case; images without a place in time are left out.

    Args:
        *args: of `ImageData`.
        frames: number of frames of every sequence, evenly spread over those that there are (some repeat where
            there are fewer); None takes all, so that sequences of different length need batches of one.
        **kwargs: of `ImageData`.
    """

    kind: ClassVar[str] = "sequences"

    def __init__(self, *args: Any, frames: int | None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if frames is not None and frames < 1:
            raise ConfigError(
                f"data.frames is {frames}; give a number of frames of 1 or more, or null for all."
            )
        self.frames = frames

    def _items_of(
        self, subjects: Sequence[str], stage: str, records: Sequence[Record]
    ) -> tuple[list[Any], list[Record]]:
        images, chosen = super()._items_of(subjects, stage, records)
        groups: dict[str, dict[int, Record]] = {}
        for record in images:
            if record.position is not None:
                name = "_".join(part for part in (record.subject, record.modality) if part).replace(" ", "-")
                groups.setdefault(name, {})[record.position] = record
        return [self._sequence(name, group) for name, group in groups.items()], chosen

    def _sequence(self, name: str, group: dict[int, Record]) -> FrameSequence:
        frames = [group[position] for position in sorted(group)]
        if self.frames is not None:
            frames = [frames[number * len(frames) // self.frames] for number in range(self.frames)]
        return FrameSequence(name, tuple(frames))

    def _perhaps(self, items: Sequence[Any]) -> frozenset[str]:
        keys = {"covariates"} if self._covariates else set()
        if all(any(record.label is not None for record in item.frames) for item in items):
            keys |= {"label", "labelled"}
        return frozenset(keys)

    def _read(self, items: Sequence[Any], stage: str, **options: Any) -> Any:
        if stage == "train" and self.loader.batch_size > 1 and len({len(item.frames) for item in items}) > 1:
            raise ConfigError(
                f"The training sequences have {min(len(i.frames) for i in items)} to "
                f"{max(len(i.frames) for i in items)} frames and cannot share a batch: set data.frames=N or "
                "data.loader.batch_size=1."
            )
        return SequenceDataset(items, **options)


class SequenceDataset(ItemDataset[FrameSequence]):
    """Sequences as samples of the batch contract."""

    def arranged(self, sample: dict[str, Any], item: FrameSequence) -> dict[str, Any]:
        """Return the frames along an axis of their own, with zeros for label maps that do not exist."""
        frames = range(len(item.frames))
        out = {key: value for key, value in sample.items() if not key[0].isdigit()}
        out["image"] = torch.stack([sample[f"{number}_image"] for number in frames], 1)
        found: list[Tensor | None] = [sample.get(f"{number}_label") for number in frames]
        like = next((label for label in found if label is not None), None)
        if like is not None:
            empty = torch.zeros_like(like)
            out["label"] = torch.stack([empty if label is None else label for label in found], 1)
            out["labelled"] = torch.tensor([[label is not None for label in found]] * len(like))
        return out

    def facts(self, item: FrameSequence, count: int) -> dict[str, Any]:
        """Return the name of the sequence, and the places of its frames."""
        places = torch.tensor([record.position for record in item.frames], dtype=torch.int64)
        return {**super().facts(item, count), "frame": places.repeat(count, 1)}
