"""Pairs of images for registration: a pairing of the images of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

from medreg.data.images import ImageData
from medreg.data.loading import record_item, truth_item
from medreg.data.pairing import Pairing
from medreg.data.pairs_dataset import PairDataset
from medreg.data.records import Pair, Record


class RegistrationData(ImageData):
    """Pairs of images for training, validation and test.

    Args:
        *args: of `ImageData`.
        pairing: which image is registered to which.
        **kwargs: of `ImageData`.
    """

    kind: ClassVar[str] = "pairs"
    chosen_by: ClassVar[str] = "data.pairing"

    def __init__(self, *args: Any, pairing: Pairing, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.pairing = pairing
        self._listed: list[Pair] = []

    def pairs(self, stage: str) -> list[Pair]:
        """Return the pairs of "train", "val" or "test"."""
        return [item for item in self.items(stage) if isinstance(item, Pair)]

    def _look_through(self, records: Sequence[Record]) -> None:
        self._listed = self.dataset.listed_pairs(records)

    def _items_of(
        self, subjects: Sequence[str], stage: str, records: Sequence[Record]
    ) -> tuple[list[Any], list[Record]]:
        names = frozenset(subjects) | self.pairing.shared_subjects if subjects else frozenset()
        chosen = [record for record in records if record.subject in names]
        training = stage == "train"
        named = [p for p in self._listed if p.subjects <= names and not (training and p.evaluation)]
        pairs = self.pairing.pairs(chosen, listed=named, training=training) if chosen else []
        return [replace(p, truth=p.truth or self.dataset.truth(p.fixed, p.moving)) for p in pairs], chosen

    def _perhaps(self, items: Sequence[Any]) -> frozenset[str]:
        keys = super()._perhaps(items)
        return keys | {"displacement"} if all(pair.truth is not None for pair in items) else keys

    def _read(self, items: Sequence[Any], stage: str, **options: Any) -> Any:
        records, truth = self._sets[stage][1], self.dataset.truth
        return PairDataset(items, records=records, pairing=self.pairing, truth=truth, **options)

    def _needed(self, stage: str) -> list[dict[str, Any]]:
        """Images of the pairs, those that may be drawn as partners in training, and known motions."""
        found = super()._needed(stage)
        pairs, records = self.pairs(stage), self._sets[stage][1]
        # Partners may be drawn from everything that looks like a moving image.
        kinds = {(pair.moving.modality, pair.moving.phase) for pair in pairs} if stage == "train" else set()
        needed = {record for pair in pairs for record in (pair.fixed, pair.moving)}
        partners = (r for r in records if (r.modality, r.phase) in kinds and r not in needed)
        found += [record_item(record) for record in partners]
        return found + [truth_item(path) for path in sorted({path for pair in pairs for path in pair.beside})]
