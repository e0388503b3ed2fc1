"""Rank of a known truth among the samples at every voxel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from medreg.inference.sampling.draw import Draw


class Ranks:
    """How many samples lie below the truth, for every component at every voxel.

    If the posterior is right, the rank is uniform over 0 … n for samples that are independent of each other.

    Args:
        truth: (P, D, *S), in the unit of the samples; chain c of pair p is at c·P + p.

    Attributes:
        below: (P, D, *S) int32, samples below the truth.
        count: (P,) samples taken in.
    """

    def __init__(self, truth: Tensor) -> None:
        self.truth = truth
        self.below = torch.zeros(truth.shape, dtype=torch.int32, device=truth.device)
        self.count = [0] * len(truth)

    def __call__(self, draw: Draw) -> None:
        """Take in the fields of the chains that run."""
        for slot, field in draw.slots():
            pair = slot % len(self.truth)
            self.below[pair] += field < self.truth[pair]
            self.count[pair] += 1

    def state(self) -> dict[str, Any]:
        """Everything but the truth, as tensors and plain values."""
        return {"below": self.below, "count": self.count}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.below.copy_(state["below"])
        self.count = list(state["count"])
