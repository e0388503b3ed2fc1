"""Linear elastic potential: strain costs energy, small rotations and translations are free."""

from __future__ import annotations

import torch
from torch import Tensor

from medreg.kernels import stencil_first
from medreg.losses.regularisation.base import Regulariser, Units
from medreg.losses.regularisation.differences import cell_difference, require_size, spread_to_border
from medreg.losses.regularisation.stencil import Stencil, on_three_axes


def elastic_density(field: Tensor, mu: float, lam: float, spacing: Tensor | None = None) -> Tensor:
    """μ/4 Σ_{k,a} (∂_a u_k + ∂_k u_a)² + λ/2 (Σ_k ∂_k u_k)² at each voxel by forward differences.

    Args:
        field: (B, D, *S) voxels, 2 or more along each axis.
        mu: μ, shear modulus.
        lam: λ, first Lamé constant.
        spacing: (B or 1, D) mm, or None for voxel units.

    Returns:
        (B, 1, *S) in units of μ; the last voxel of an axis has the value of the one before.
    """
    require_size(field, 2, "The elastic potential")
    ndim = field.shape[1]
    if spacing is not None:
        field = field * spacing.view(-1, ndim, *[1] * ndim)
    columns = []
    for axis in range(ndim):
        derivative = cell_difference(field, axis)
        if spacing is not None:
            derivative = derivative / spacing[:, axis].view(-1, *[1] * (ndim + 1))
        columns.append(derivative)
    gradient = torch.stack(columns, 2)
    strain = gradient + gradient.transpose(1, 2)
    divergence = strain.diagonal(dim1=1, dim2=2).sum(-1) / 2.0
    energy = mu / 4.0 * strain.square().sum((1, 2)) + lam / 2.0 * divergence.square()
    return spread_to_border(energy[:, None], before=0, after=1)


class LinearElastic(Regulariser):
    """R = weight · mean_x μ/4 Σ_{k,a} (∂_a u_k + ∂_k u_a)² + λ/2 (div u)².

    Broit, Optimal registration of deformed images, 1981, as written by Modersitzki, Numerical Methods for
    Image Registration, 2004, chapter 9.

    Args:
        mu: μ, shear modulus, relative to the weight.
        lam: λ, first Lamé constant, relative to the weight; 0 lets volume change freely.
        weight: factor of the whole potential.
        units: "mm" or "voxel", see `Regulariser`.
    """

    def __init__(self, *, mu: float, lam: float, weight: float, units: Units = "mm") -> None:
        super().__init__(weight=weight, units=units)
        self.mu = mu
        self.lam = lam

    def density(self, field: Tensor, *, spacing_mm: Tensor | None) -> Tensor:
        """Return the elastic potential at each voxel, (B, 1, *S)."""
        return elastic_density(field, self.mu, self.lam, self.scales(field, spacing_mm))

    def stencil(self, field: Tensor, spacing: Tensor) -> Stencil | None:
        """Return the kernel with the factors s_k/s_a, and in a last row μ/2 and λ/2."""
        if min(field.shape[2:]) < 2:
            return None
        factors = on_three_axes(spacing[:, :, None] / spacing[:, None, :])
        moduli = factors.new_tensor([self.mu / 2.0, self.lam / 2.0, 0.0]).expand(len(factors), 1, 3)
        return Stencil(stencil_first.elastic, torch.cat([factors, moduli], 1), after=1)
