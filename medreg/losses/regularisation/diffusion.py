"""Diffusion regulariser: first derivatives should be small."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from medreg.kernels import stencil_first
from medreg.losses.regularisation.base import Regulariser
from medreg.losses.regularisation.stencil import Stencil, on_three_axes


def diffusion_density(field: Tensor, spacing: Tensor | None = None) -> Tensor:
    """Σ_k Σ_a ((s_k/s_a)·∂_a u_k)² at each voxel by forward differences, 0 at the last voxel of an axis.

    Args:
        field: (B, D, *S) voxels.
        spacing: (B or 1, D) mm, or None for voxel units.

    Returns:
        (B, 1, *S), dimensionless.
    """
    ndim = field.shape[1]
    if spacing is not None:
        # u in mm once, then one division an axis.
        field = field * spacing.view(-1, ndim, *[1] * ndim)
    density = torch.zeros_like(field[:, :1])
    for axis in range(ndim):
        squared = field.diff(dim=axis + 2).square().sum(1, keepdim=True)
        if spacing is not None:
            squared = squared / spacing[:, axis].square().view(-1, *[1] * (ndim + 1))
        density = density + F.pad(squared, [0, 0] * (ndim - 1 - axis) + [0, 1])
    return density


class Diffusion(Regulariser):
    """R = λ mean_x Σ_{k,a} (∂_a u_k)² (Balakrishnan et al., VoxelMorph, TMI 2019, L_smooth).

    The mean runs over all voxels and the last forward difference of each axis is 0, as in the code of GraDIRN
    (Qiu et al., 2022). MONAI's `DiffusionLoss` has central differences on inner voxels and averages over
    components: the same for linear fields but for a factor D.

    Args:
        weight: λ.
        units: "mm" or "voxel", see `Regulariser`.
    """

    def density(self, field: Tensor, *, spacing_mm: Tensor | None) -> Tensor:
        """Return the squared first derivatives at each voxel, (B, 1, *S)."""
        return diffusion_density(field, self.scales(field, spacing_mm))

    def stencil(self, field: Tensor, spacing: Tensor) -> Stencil | None:
        """Return the kernel with the factors (s_k/s_a)²."""
        factors = (spacing[:, :, None] / spacing[:, None, :]).square()
        return Stencil(stencil_first.diffusion, on_three_axes(factors))
