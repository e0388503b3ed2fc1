"""How far an affine map moves the points of an image: root mean square displacement in closed form.

Matrices here are (B, D, D+1), [A | t], in unit coordinates: x ∈ [−1, 1]^D from the first voxel centre of each axis
to the last, φ(x) = A x + t.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


def half_extents(
    shape: Sequence[int],
    *,
    spacing_mm: Sequence[float] | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> Tensor:
    """Half the length of every axis, h_k = (S_k − 1)/2 · spacing_k.

    Args:
        shape: spatial size S.
        spacing_mm: mm along each axis; None gives voxels.
        dtype: floating type of the result.
        device: device of the result.

    Returns:
        (D,), mm; 1 voxel for an axis of one voxel, which has no extent to be moved by.
    """
    spacing = [1.0] * len(shape) if spacing_mm is None else [float(value) for value in spacing_mm]
    lengths = [(max(size - 1, 2) / 2) * step for size, step in zip(shape, spacing, strict=True)]
    return torch.tensor(lengths, dtype=dtype, device=device)


def affine_distance(matrix: Tensor, half_extents: Tensor) -> Tensor:
    """Root mean square displacement over the cube [−1, 1]^D, d² = ‖H t‖² + ⅓ ‖H (A − I)‖_F², H = diag(h).

    Zero only at the identity; with a slope that does not vanish there, so the gradient at exactly the identity is
    undefined (it is returned as zero). The closed form is ours; docs/explanation/mad.md.

    Args:
        matrix: (B, D, D+1), [A | t], unit coordinates.
        half_extents: h (D,) or (B, D), mm (or any length).

    Returns:
        (B,), in the length of h.
    """
    excess, shift = displacement_matrix(matrix, half_extents)
    return _root(shift.square().sum(1) + excess.square().sum((1, 2)) / 3)


@dataclass(frozen=True)
class RegionMoments:
    """Mean and covariance of the points of a region: all that the distance of an affine map depends on.

    Attributes:
        mean: m (B, D), unit coordinates.
        covariance: S (B, D, D), unit coordinates.
    """

    mean: Tensor
    covariance: Tensor


def region_moments(mask: Tensor) -> RegionMoments:
    """Mean and covariance of the unit coordinates of a mask's voxels.

    Args:
        mask: (B, 1, *S), weights ≥ 0; every sample has some.

    Returns:
        Moments in the precision of the mask, at least single.
    """
    shape = tuple(mask.shape[2:])
    weights = mask.to(torch.promote_types(mask.dtype, torch.float32)).flatten(2).squeeze(1)
    axes = [
        torch.linspace(-1, 1, size, dtype=weights.dtype, device=weights.device)
        if size > 1
        else weights.new_zeros(1)
        for size in shape
    ]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij")).flatten(1)
    weights = weights / weights.sum(1, keepdim=True)
    mean = weights @ points.T
    centred = points.unsqueeze(0) - mean.unsqueeze(2)
    return RegionMoments(mean, (centred * weights.unsqueeze(1)) @ centred.mT)


def affine_distance_within(matrix: Tensor, half_extents: Tensor, *, region: RegionMoments) -> Tensor:
    """Root mean square displacement over a region, d² = ‖H (t + E m)‖² + tr(H E S Eᵀ H), E = A − I.

    Args:
        matrix: (B, D, D+1), [A | t], unit coordinates.
        half_extents: h (D,) or (B, D), mm (or any length).
        region: m and S of the region, see `region_moments`.

    Returns:
        (B,), in the length of h.
    """
    excess, shift = displacement_matrix(matrix, half_extents)
    mean, covariance = region.mean.to(matrix), region.covariance.to(matrix)
    centre = shift + (excess @ mean.unsqueeze(2)).squeeze(2)
    spread = ((excess @ covariance) * excess).sum((1, 2))
    return _root(centre.square().sum(1) + spread)


def displacement_matrix(matrix: Tensor, half_extents: Tensor) -> tuple[Tensor, Tensor]:
    """Physical displacement of unit coordinates, H (φ(x) − x) = (H E) x + H t.

    Args:
        matrix: (B, D, D+1), [A | t], unit coordinates.
        half_extents: h (D,) or (B, D), mm.

    Returns:
        H E (B, D, D) and H t (B, D), mm.
    """
    ndim = matrix.shape[1]
    half = half_extents.to(matrix)
    excess = matrix[..., :ndim] - torch.eye(ndim, dtype=matrix.dtype, device=matrix.device)
    return half.unsqueeze(-1) * excess, half * matrix[..., ndim]


def compose_matrices(outer: Tensor, inner: Tensor) -> Tensor:
    """Matrix of x ↦ outer(inner(x)), all (B, D, D+1): an image warped by `outer` and then by `inner`."""
    ndim = outer.shape[1]
    linear = outer[..., :ndim] @ inner[..., :ndim]
    shift = outer[..., :ndim] @ inner[..., ndim:] + outer[..., ndim:]
    return torch.cat([linear, shift], 2)


def inverse_matrix(matrix: Tensor) -> Tensor:
    """Matrix of the inverse map, (B, D, D+1)."""
    ndim = matrix.shape[1]
    linear = torch.linalg.inv(matrix[..., :ndim])
    return torch.cat([linear, -linear @ matrix[..., ndim:]], 2)


def residual_distance(found: Tensor, truth: Tensor, half_extents: Tensor) -> Tensor:
    """What a registration left over: the distance of found⁻¹ ∘ truth from the identity.

    Args:
        found: (B, D, D+1), unit coordinates.
        truth: (B, D, D+1), unit coordinates.
        half_extents: h (D,) or (B, D), mm.

    Returns:
        (B,), mm; measured on the grid of the fixed image.
    """
    return affine_distance(compose_matrices(inverse_matrix(found), truth), half_extents)


def _root(square: Tensor) -> Tensor:
    """Square root whose gradient at 0 is 0 instead of not a number."""
    positive = square > 0
    return torch.where(positive, square, torch.ones_like(square)).sqrt() * positive
