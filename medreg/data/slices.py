"""Which slices of a stack are used in training and in evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from medreg.errors import ConfigError


@dataclass(frozen=True)
class Slices:
    """Slice policy of 2-D registration of stacks.

    Attributes:
        train_count: uniformly random slices per access in training.
        evaluate: "all", or relative positions p in [0, 1); index int(p·n) (GraDIRN's released code).
        among: "all" slices; "labelled": those with any label in both images; "complete": those where every
            structure of the data set has more than `min_voxels` voxels in both images.
        min_voxels: see `among`.
        overlap_only: in evaluation, empty the labels of slices in which some structure of fixed and moving
            does not overlap at all, so that metrics skip them (GraDIRN on M&Ms-2).
    """

    train_count: int
    evaluate: Literal["all"] | Sequence[float]
    among: Literal["all", "labelled", "complete"]
    min_voxels: int = 0
    overlap_only: bool = False

    def __post_init__(self) -> None:
        if self.train_count < 1:
            raise ConfigError(f"data.slices.train_count is {self.train_count}; it must be at least 1.")
        if self.among not in ("all", "labelled", "complete"):
            raise ConfigError(f"data.slices.among is {self.among!r}; choose all, labelled or complete.")
        if isinstance(self.evaluate, str):
            if self.evaluate != "all":
                raise ConfigError(
                    f"data.slices.evaluate is {self.evaluate!r}; give all or a list such as [0.5]."
                )
        elif not self.evaluate or not all(0 <= position < 1 for position in self.evaluate):
            raise ConfigError(f"data.slices.evaluate is {list(self.evaluate)}; positions lie in [0, 1).")

    def candidates(self, depth: int, labels: Sequence[Tensor], codes: Sequence[int]) -> list[int]:
        """Slices that may be used; all of them where none satisfies `among` or labels are absent."""
        if self.among == "all" or not labels:
            return list(range(depth))
        wanted = [None] if self.among == "labelled" or not codes else list(codes)
        usable = torch.ones(depth, dtype=torch.bool)
        for label in labels:
            for code in wanted:
                hit = label > 0 if code is None else label == code
                usable &= hit.reshape(-1, depth).sum(0) > self.min_voxels
        return [int(k) for k in torch.nonzero(usable).flatten()] or list(range(depth))

    def for_training(self, candidates: Sequence[int], generator: np.random.Generator) -> list[int]:
        """Random slices, without repetition as far as there are enough."""
        count = len(candidates)
        chosen = generator.choice(count, size=self.train_count, replace=self.train_count > count)
        return [candidates[int(position)] for position in chosen]

    def for_evaluation(self, candidates: Sequence[int]) -> list[int]:
        """Every candidate, or those at the relative positions, in order and without repetition."""
        if isinstance(self.evaluate, str):
            return list(candidates)
        return sorted({candidates[int(position * len(candidates))] for position in self.evaluate})


def empty_without_overlap(fixed: Tensor, moving: Tensor, codes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Set the labels of slices to 0 in which background or some structure has no voxel common to both.

    Args:
        fixed: (N, 1, X, Y).
        moving: (N, 1, X, Y).
        codes: codes of the structures.
    """
    keep = torch.ones(fixed.shape[0], dtype=torch.bool)
    for code in (0, *codes):
        keep &= ((fixed == code) & (moving == code)).flatten(1).any(1)
    factor = keep.reshape(-1, 1, 1, 1).to(fixed.dtype)
    return fixed * factor, moving * factor
