"""No regularisation, for models whose architecture already restricts the field."""

from __future__ import annotations

import torch
from torch import Tensor

from medreg.losses.regularisation.base import Regulariser


class NoRegularisation(Regulariser):
    """R = 0 for every field.

    Args:
        weight: accepted so that `regularisation.weight=…` holds for every regulariser; without effect.
        units: accepted for the same reason.
    """

    def density(self, field: Tensor, *, spacing_mm: Tensor | None) -> Tensor:
        """Return zeros, (B, 1, *S)."""
        return torch.zeros_like(field[:, :1])
