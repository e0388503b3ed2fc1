"""Hearts of one split as samples of the batch contract."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from medreg.data.hearts import Heart, heart_item
from medreg.data.images_dataset import Access, ItemDataset


class ShapeDataset(ItemDataset[Heart]):
    """Label maps over the cycle, with those of a later visit where the item has one.

    Args:
        items: see `ItemDataset`.
        spacing_mm: of the grid, mm.
        **options: of `ItemDataset`.
    """

    def __init__(self, items: Sequence[Heart], *, spacing_mm: Sequence[float], **options: Any) -> None:
        super().__init__(items, **options)
        self.spacing_mm = torch.tensor([list(map(float, spacing_mm))])

    def _sample(self, access: Access) -> dict[str, Any]:
        return self._heart(self.items[access.index % len(self)])

    def _heart(self, heart: Heart) -> dict[str, Any]:
        loaded = self.store[heart_item(heart)]
        sample: dict[str, Any] = {
            "shape": loaded["shape"].unsqueeze(0),
            "spacing_mm": self.spacing_mm,
            "affine": loaded["affine"].unsqueeze(0),
            "slice_index": torch.full((1,), -1, dtype=torch.int64),
            "case": [heart.id],
            "subject": [heart.subject],
            "group": [heart.frames[0].group],
            "frame": loaded["frame"].unsqueeze(0),
            **self.covariates.entry(heart.frames[0], 1),
        }
        return sample if heart.later is None else {**sample, "later": self._heart(heart.later)}
