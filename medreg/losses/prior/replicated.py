"""The diffusion energy as the released code of the paper counts it: the last difference of every axis twice."""

from __future__ import annotations

import torch
from torch import Tensor

from medreg.losses.regularisation.base import Regulariser


class ReplicatedDiffusion(Regulariser):
    """R = λ mean_x Σ_{k,a} (∂_a u_k)² by forward differences; the last voxel of an axis repeats the one before.

    `Diffusion` has 0 there. Only for comparison with the released code of Grzech et al., MELBA 2021.

    Args:
        weight: λ.
        units: "mm" or "voxel", see `Regulariser`.
    """

    def density(self, field: Tensor, *, spacing_mm: Tensor | None) -> Tensor:
        """Return the squared first derivatives at each voxel, (B, 1, *S)."""
        spacing, ndim = self.scales(field, spacing_mm), field.shape[1]
        if spacing is not None:
            field = field * spacing.view(-1, ndim, *[1] * ndim)
        density = torch.zeros_like(field[:, :1])
        for axis in range(ndim):
            if field.shape[axis + 2] < 2:
                continue
            squared = field.diff(dim=axis + 2).square().sum(1, keepdim=True)
            if spacing is not None:
                squared = squared / spacing[:, axis].square().view(-1, *[1] * (ndim + 1))
            last = squared.narrow(axis + 2, squared.shape[axis + 2] - 1, 1)
            density = density + torch.cat([squared, last], axis + 2)
        return density
