"""What cannot be loaded, as training would say it: `medreg doctor` asks the loaders themselves."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from medreg.data.findings import Notes
from medreg.data.images import ImageData
from medreg.data.images_dataset import SKIPPED
from medreg.data.records import Item, Record
from medreg.data.sample import collate
from medreg.data.store import Cache
from medreg.errors import DataError, MedregError


class Loading:
    """Loads what a data module would load and remembers what became of it.

    Args:
        data: the data module; it keeps nothing in memory and skips nothing from now on.
        notes: receives what cannot be loaded, as an error, or as a warning where the data module leaves it out.
    """

    def __init__(self, data: ImageData, notes: Notes) -> None:
        self.data, self.notes = data, notes
        self.severity = "warning" if data.on_corrupt == "skip" else "error"
        data.cache, data.on_corrupt = Cache("none", ""), "error"
        self.kinds: dict[str, Hashable] = {}  # by image, all that decides how it is put together with others

    def record(self, record: Record) -> Mapping[str, Tensor] | None:
        """Return the arrays of an image as its file holds them, None where they cannot be loaded."""
        try:
            loaded = self.data.load(record)
        except DataError as error:
            self._add(self.severity, str(error), record.describe(), record)
            return None
        shapes = [
            (name, tuple(loaded[name].shape))
            for name in ("image", "label", "mask", "points")
            if name in loaded
        ]
        self.kinds[record.id] = (*shapes, tuple(loaded["affine"].flatten().round(decimals=3).tolist()))
        return loaded

    def items(self) -> None:
        """Put together one item of every kind in every set, and the items of different shape that share a batch."""
        for stage in self.data.stages:
            items = self.data.items(stage)
            try:
                samples = self.data.samples(stage) if items else []
            except MedregError as error:
                self._add("error", str(error), stage)
                continue
            shapes: dict[Hashable, dict[str, Any]] = {}
            for number in self._telling(items):
                try:
                    sample = samples[number]
                except MedregError as error:
                    parts = items[number].parts.values()
                    self._add(self.severity, str(error), items[number].id, *parts)
                else:
                    shapes.setdefault(_shape(sample), sample)
            if stage == "train" and self.data.loader.batch_size > 1 and len(shapes) > 1:
                try:
                    collate(list(shapes.values()))
                except DataError as error:
                    self._add("error", str(error), stage)

    def _telling(self, items: Iterable[Item]) -> list[int]:
        """Positions of the items whose images could be loaded: one of each kind, and all with files of their own."""
        seen: set[Hashable] = set()
        found = []
        for number, item in enumerate(items):
            parts = [self.kinds.get(record.id) for record in item.parts.values()]
            kind = (*parts, item.beside)
            if None not in parts and (self.data.every_item or kind not in seen):
                seen.add(kind)
                found.append(number)
        return found

    def _add(self, severity: str, message: str, example: str, *records: Record) -> None:
        """Note a message; those that differ in names and numbers only are counted together."""
        kind = message
        for record in records:
            for file in record.files:
                kind = kind.replace(record.describe(file), "").replace(str(file), "")
            kind = kind.replace(record.id, "")
        self.notes.add(severity, re.sub(r"\d+", "", kind), message, example=example)


def _shape(sample: Mapping[str, Any]) -> Hashable:
    """The shapes of a sample beside the leading axis."""
    assert SKIPPED not in sample
    return tuple((key, tuple(value.shape[1:])) for key, value in sample.items() if torch.is_tensor(value))
