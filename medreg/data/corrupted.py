"""The data module whose test images are corrupted copies; training and validation are on the clean ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from medreg.data.corruption import Corruptions
from medreg.data.labelled import LabelledImageData
from medreg.data.records import Record
from medreg.data.store import Cache


class CorruptedImageData(LabelledImageData):
    """Single images of any data set, those of the test set in corrupted copies.

    The copies of `patient007_ED` are the cases `patient007_ED_motion_1`, `patient007_ED_motion_2` and so on. Artefacts
    are put into the image as stored; it is then prepared as the clean one would be.

    Args:
        *args: of `LabelledImageData`.
        corruption: which copies there are.
        **options: of `LabelledImageData`.
    """

    def __init__(self, *args: Any, corruption: Corruptions, **options: Any) -> None:
        super().__init__(*args, **options)
        self.corruption = corruption

    def _items_of(
        self, subjects: Sequence[str], stage: str, records: Sequence[Record]
    ) -> tuple[list[Any], list[Record]]:
        """Return the items of some subjects; in the test set each image by its copies."""
        items, chosen = super()._items_of(subjects, stage, records)
        if stage != "test":
            return items, chosen
        return [copy for record in items for copy in self._copies(record)], chosen

    def _cache_of(self, stage: str) -> Cache:
        """Keep no copy in memory: there are a dozen of each image, each looked at once."""
        return Cache("none", "") if stage == "test" and self.cache.kind == "memory" else self.cache

    def _copies(self, record: Record) -> list[Record]:
        return [
            replace(record, id=f"{record.id}_{found.kind}_{found.copy}", corruption=found)
            for found in self.corruption.of(record.id)
        ]
