"""The heart that does not beat: every frame is the first one."""

from __future__ import annotations

import torch
from torch import Tensor

from medreg.errors import CompositionError
from medreg.models.hearts.conditions import Covariates
from medreg.models.hearts.fitted import FittedModel


class CopyFirst(FittedModel):
    """Completes a sequence by its first frame: what any model of motion has to beat."""

    trainable = False
    generates = False

    def observe(self, shape: Tensor, covariates: Covariates) -> None:
        """Nothing is learned."""

    def complete(
        self, first: Tensor, covariates: Covariates, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """The first frame T times, (B, T, *S)."""
        return first.unsqueeze(1).expand(-1, self.frames, *self.size).contiguous()

    def generate(self, covariates: Covariates, *, generator: torch.Generator) -> Tensor:
        """Refused: without a first frame there is nothing to copy."""
        raise CompositionError("model=copy_ed repeats the first frame of a heart; it cannot make a heart.")
