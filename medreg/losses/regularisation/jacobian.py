"""Folding penalty: the Jacobian determinant of the deformation should stay positive."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from medreg.geometry.derivatives import jacobian_determinant
from medreg.kernels import stencil_folding
from medreg.losses.regularisation.base import Regulariser, Units
from medreg.losses.regularisation.stencil import Stencil


class Folding(Regulariser):
    """R = λ mean_x max(0, ε − det J_φ(x)), φ = id + u, always of the displacement.

    Zero wherever the determinant exceeds ε, linear in the depth of a fold (Mok and Chung, SYMNet, CVPR 2020,
    local orientation consistency, for ε = 0). Forward differences see folds between neighbouring voxels that
    central differences step over. The determinant has no unit and no spacing.

    Args:
        eps: ε, determinant below which a voxel is penalised.
        weight: λ.
        units: accepted for uniformity; both give the same number.
    """

    on: ClassVar[Literal["regularised", "displacement"]] = "displacement"

    def __init__(self, *, eps: float, weight: float, units: Units = "mm") -> None:
        super().__init__(weight=weight, units=units)
        self.eps = eps

    def density(self, field: Tensor, *, spacing_mm: Tensor | None) -> Tensor:
        """Return the shortfall of the determinant at each voxel, (B, 1, *S)."""
        return (self.eps - jacobian_determinant(field, mode="forward")).clamp_min(0.0)[:, None]

    def stencil(self, field: Tensor, spacing: Tensor) -> Stencil | None:
        """Return the kernel; the determinant knows no spacing."""
        if min(field.shape[2:]) < 2:
            return None
        return Stencil(stencil_folding.folding, torch.full((1, 1, 1), self.eps, dtype=torch.float64))
