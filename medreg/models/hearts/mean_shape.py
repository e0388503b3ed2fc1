"""The mean heart: in every voxel of every frame the structure that most training hearts have there."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medreg.models.hearts.conditions import Conditions, Covariates
from medreg.models.hearts.fitted import FittedModel


class MeanShape(FittedModel):
    """Answers everything with the majority of the training hearts; of equal counts, the lower place.

    Args:
        conditions: as in `FittedModel`, like the rest; unused.
    """

    shape: Tensor
    counts: Tensor

    def __init__(self, conditions: Conditions, *, frames: int, classes: int, size: Sequence[int]) -> None:
        super().__init__(conditions, frames=frames, classes=classes, size=size)
        self.register_buffer("shape", torch.zeros(frames, *self.size, dtype=torch.uint8))
        self.register_buffer("counts", torch.zeros(0, dtype=torch.int32), persistent=False)

    def begin(self) -> None:
        """Count from zero."""
        self.counts = self.shape.new_zeros(self.classes, self.frames, *self.size, dtype=torch.int32)

    def observe(self, shape: Tensor, covariates: Covariates) -> None:
        """Count the structures of every voxel."""
        if not self.counts.numel():
            self.begin()
        for place in range(self.classes):
            self.counts[place] += (shape == place).sum(0, dtype=torch.int32)

    def settle(self) -> None:
        """Take the majority."""
        self.shape = self.counts.argmax(0).to(torch.uint8)
        self.counts = self.counts.new_zeros(0)
        super().settle()

    def complete(
        self, first: Tensor, covariates: Covariates, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """The mean heart for everyone, (B, T, *S)."""
        return self._repeated(len(first))

    def generate(self, covariates: Covariates, *, generator: torch.Generator) -> Tensor:
        """The mean heart for everyone, (B, T, *S)."""
        return self._repeated(len(next(iter(covariates.values()))) if covariates else 1)

    def _repeated(self, count: int) -> Tensor:
        self.check_settled()
        return self.shape.expand(count, *self.shape.shape).contiguous()
