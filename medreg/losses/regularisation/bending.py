"""Bending energy: second derivatives should be small, linear fields are free."""

from __future__ import annotations

import torch
from torch import Tensor

from medreg.kernels import stencil_second
from medreg.losses.regularisation.base import Regulariser
from medreg.losses.regularisation.differences import require_size, second_difference, spread_to_border
from medreg.losses.regularisation.stencil import Stencil, on_three_axes


def bending_density(field: Tensor, spacing: Tensor | None = None) -> Tensor:
    """Σ_k Σ_{a,b} (s_k/(s_a·s_b)·∂²_ab u_k)² at each voxel; mixed derivatives count twice.

    Args:
        field: (B, D, *S) voxels, 3 or more along each axis.
        spacing: (B or 1, D) mm, or None for voxel units.

    Returns:
        (B, 1, *S) in 1/mm² (1/voxel²); border voxels have the value of their nearest inner voxel.
    """
    require_size(field, 3, "The bending energy")
    ndim = field.shape[1]
    if spacing is not None:
        field = field * spacing.view(-1, ndim, *[1] * ndim)
    terms = []
    for first in range(ndim):
        for second in range(first, ndim):
            squared = second_difference(field, first, second).square().sum(1, keepdim=True)
            factor = 1.0 if first == second else 2.0
            if spacing is None:
                terms.append(factor * squared)
            else:
                area = (spacing[:, first] * spacing[:, second]).view(-1, *[1] * (ndim + 1))
                terms.append(squared * (factor / area.square()))
    return spread_to_border(torch.stack(terms).sum(0), before=1, after=1)


class Bending(Regulariser):
    """R = λ mean_x Σ_k Σ_{a,b} (∂²_ab u_k)² (Rueckert et al., TMI 1999, C_smooth).

    Compact stencils: (1, −2, 1) for pure and four corners for mixed derivatives, so a checkerboard is
    penalised most. MONAI ≥ 1.6 `BendingEnergyLoss` is the same on inner voxels, averaged over components: a
    factor D.
    In millimetres λ has the unit mm²; on voxels of s mm it is s² times the λ of `units="voxel"`.

    Args:
        weight: λ.
        units: "mm" or "voxel", see `Regulariser`.
    """

    def density(self, field: Tensor, *, spacing_mm: Tensor | None) -> Tensor:
        """Return the squared second derivatives at each voxel, (B, 1, *S)."""
        return bending_density(field, self.scales(field, spacing_mm))

    def stencil(self, field: Tensor, spacing: Tensor) -> Stencil | None:
        """Return the kernel with the factors (s_k/s_a²)², and 2·(s_k/(s_a·s_b))²/16 of the four corners."""
        if min(field.shape[2:]) < 3:
            return None
        inverse = on_three_axes(1.0 / spacing)
        x, y, z = inverse.unbind(-1)
        factors = torch.stack([x * x, y * y, z * z, x * y, x * z, y * z], -1).square()
        factors[:, 3:] /= 8.0
        factors = spacing.square()[:, :, None] * factors[:, None, :]
        return Stencil(stencil_second.bending, factors, before=1, after=1)
