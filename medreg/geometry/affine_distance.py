"""How far an affine map moves the points of an image: root mean square displacement in closed form.

Matrices here are (B, D, D+1), [A | t], in unit coordinates: x ∈ [−1, 1]^D from the first voxel centre of each axis
to the last, φ(x) = A x + t.
"""

from __future__ import annotations

from collections.abc import Sequence

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
