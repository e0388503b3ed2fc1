"""Curvature regulariser: the Laplacian of each component should be small."""

from __future__ import annotations

from torch import Tensor

from medreg.kernels import stencil_second
from medreg.losses.regularisation.base import Regulariser
from medreg.losses.regularisation.differences import require_size, second_difference, spread_to_border
from medreg.losses.regularisation.stencil import Stencil, on_three_axes


def curvature_density(field: Tensor, spacing: Tensor | None = None) -> Tensor:
    """Σ_k (s_k Σ_a ∂²_aa u_k / s_a²)² at each voxel.

    Args:
        field: (B, D, *S) voxels, 3 or more along each axis.
        spacing: (B or 1, D) mm, or None for voxel units.

    Returns:
        (B, 1, *S) in 1/mm² (1/voxel²); border voxels have the value of their nearest inner voxel.
    """
    require_size(field, 3, "The curvature")
    ndim = field.shape[1]
    if spacing is not None:
        field = field * spacing.view(-1, ndim, *[1] * ndim)
    laplacian = field.new_zeros(())
    for axis in range(ndim):
        second = second_difference(field, axis, axis)
        if spacing is not None:
            second = second / spacing[:, axis].square().view(-1, *[1] * (ndim + 1))
        laplacian = laplacian + second
    return spread_to_border(laplacian.square().sum(1, keepdim=True), before=1, after=1)


class Curvature(Regulariser):
    """R = λ mean_x Σ_k (Δu_k)² (Fischer and Modersitzki, J. Math. Imaging Vis. 2003), without their factor ½.

    Harmonic fields such as u = (x² − y², 0) are free, unlike under `Bending`.

    Args:
        weight: λ.
        units: "mm" or "voxel", see `Regulariser`.
    """

    def density(self, field: Tensor, *, spacing_mm: Tensor | None) -> Tensor:
        """Return the squared Laplacian at each voxel, (B, 1, *S)."""
        return curvature_density(field, self.scales(field, spacing_mm))

    def stencil(self, field: Tensor, spacing: Tensor) -> Stencil | None:
        """Return the kernel with the factors s_k/s_a²."""
        if min(field.shape[2:]) < 3:
            return None
        factors = spacing[:, :, None] / spacing[:, None, :].square()
        return Stencil(stencil_second.curvature, on_three_axes(factors), before=1, after=1)
