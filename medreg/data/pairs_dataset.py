"""Pairs of one split: a pair is drawn, both images are brought to one grid, with the known motion between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from medreg.data.failures import CorruptFile
from medreg.data.images_dataset import ItemDataset
from medreg.data.loading import record_item, truth_item
from medreg.data.pairing import Pairing
from medreg.data.preprocess import Choice, Loaded, Prepared
from medreg.data.records import Pair, Record
from medreg.data.slices import empty_without_overlap


class PairDataset(ItemDataset[Pair]):
    """Pairs as samples of the batch contract.

    Args:
        items: pairs in a fixed order.
        records: records of the split, from which partners are drawn.
        pairing: may redraw a pair.
        truth: finds the displacement file of a redrawn pair.
        **options: of `ItemDataset`.
    """

    def __init__(
        self,
        items: Sequence[Pair],
        *,
        records: Sequence[Record],
        pairing: Pairing,
        truth: Callable[[Record, Record], Path | None],
        **options: Any,
    ) -> None:
        super().__init__(items, **options)
        self.records = list(records)
        self.pairing = pairing
        self.truth = truth

    def drawn(self, item: Pair, generator: np.random.Generator) -> Pair:
        """Return the pair that the pairing draws, with its known motion."""
        pair = self.pairing.draw(item, self.records, generator)
        return pair if pair is item else replace(pair, truth=self.truth(pair.fixed, pair.moving))

    def prepared(self, item: Pair, choose: Choice | None) -> Prepared:
        """Return both images on the fixed grid, and the motion."""
        fixed, moving = (self.store[record_item(record)] for record in (item.fixed, item.moving))
        _check_points(item, fixed, moving)
        truth = None if item.truth is None else self.store[truth_item(item.truth)]
        return self.preprocess.prepare(fixed, moving, truth, choose=choose)

    def arranged(self, sample: dict[str, Any], item: Pair) -> dict[str, Any]:
        """Return the sample; in evaluation labels of slices without overlap are emptied where that is asked for."""
        wanted = self.slices is not None and self.slices.overlap_only and not self.training
        if wanted and {"fixed_label", "moving_label"} <= sample.keys():
            both = empty_without_overlap(sample["fixed_label"], sample["moving_label"], self.codes)
            sample["fixed_label"], sample["moving_label"] = both
        return sample

    def facts(self, item: Pair, count: int) -> dict[str, Any]:
        """Return the names of the pair and of both images."""
        names = {"fixed_id": [item.fixed.id] * count, "moving_id": [item.moving.id] * count}
        return {**super().facts(item, count), **names}


def _check_points(pair: Pair, fixed: Loaded, moving: Loaded) -> None:
    for name, file in (("points", "keypoints"), ("more_points", "more_keypoints")):
        if name in fixed and name in moving and len(fixed[name]) != len(moving[name]):
            first, second = (end.describe(getattr(end, file)) for end in (pair.fixed, pair.moving))
            raise CorruptFile(
                f"{first} holds {len(fixed[name])} landmarks but {second} {len(moving[name])}; row i of one must be "
                "the same anatomical place as row i of the other."
            )
