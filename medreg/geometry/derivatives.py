"""Finite differences on the voxel grid and the Jacobian of a transformation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from medreg.geometry.jacobian_fast import determinant
from medreg.kernels.dispatch import usable

Boundary = Literal["one_sided", "replicate", "drop"]
DifferenceMode = Literal["central", "forward"]


def forward_difference(field: Tensor, axis: int, *, boundary: Boundary = "one_sided") -> Tensor:
    """Forward difference, (∂_a f)(i) = f(i + e_a) − f(i), per voxel.

    Args:
        field: (B, C, *S).
        axis: spatial axis a, counted from 0.
        boundary: rule at the far border, "one_sided": the backward difference; "replicate": the field continues
            with its border value, hence zero; "drop": the result is one shorter along the axis.

    Returns:
        (B, C, *S), in units of the field per voxel; along an axis of one voxel, zero.

    Raises:
        ValueError: unknown boundary.
    """
    dim = 2 + axis
    size = field.shape[dim]
    inner = field.narrow(dim, 1, size - 1) - field.narrow(dim, 0, size - 1)
    return _FORWARD_ENDS[_known(boundary)](field, inner, dim)


def central_difference(field: Tensor, axis: int, *, boundary: Boundary = "one_sided") -> Tensor:
    """Central difference, (∂_a f)(i) = (f(i + e_a) − f(i − e_a)) / 2, per voxel.

    Args:
        field: (B, C, *S).
        axis: spatial axis a, counted from 0.
        boundary: rule at both borders, "one_sided": forward or backward difference; "replicate": the field
            continues with its border value, hence half of the one-sided difference (what ITK's Jacobian
            filter does); "drop": the result is two shorter along the axis.

    Returns:
        (B, C, *S), in units of the field per voxel; along an axis of one voxel, zero.

    Raises:
        ValueError: unknown boundary.
    """
    dim = 2 + axis
    size = field.shape[dim]
    kind = _known(boundary)
    inner = (field.narrow(dim, min(2, size), max(size - 2, 0)) - field.narrow(dim, 0, max(size - 2, 0))) * 0.5
    if kind == "drop":
        return inner
    if size == 1:
        return torch.zeros_like(field)
    weight = 1.0 if kind == "one_sided" else 0.5
    first = (field.narrow(dim, 1, 1) - field.narrow(dim, 0, 1)) * weight
    last = (field.narrow(dim, size - 1, 1) - field.narrow(dim, size - 2, 1)) * weight
    return torch.cat([first, inner, last], dim)


def jacobian_matrix(displacement: Tensor, *, mode: DifferenceMode = "central") -> Tensor:
    """Jacobian of φ = id + u, J_ka = δ_ka + ∂u_k/∂x_a, one-sided at the border.

    Args:
        displacement: (B, D, *S), voxels.
        mode: "central" or "forward" differences.

    Returns:
        (B, D, D, *S), voxels per voxel; row k is the component, column a the axis of the derivative.
    """
    ndim = displacement.ndim - 2
    columns = torch.stack([_difference(mode)(displacement, axis) for axis in range(ndim)], 2)
    eye = torch.eye(ndim, dtype=columns.dtype, device=columns.device)
    return columns + eye.reshape(1, ndim, ndim, *([1] * ndim))


def jacobian_determinant(displacement: Tensor, *, mode: DifferenceMode = "central") -> Tensor:
    """Local change of volume of φ = id + u, det(I + ∂u/∂x), by cofactor expansion; ≤ 0 where it folds.

    Args:
        displacement: (B, D, *S), voxels. The determinant in mm is the same number.
        mode: "central" or "forward" differences, one-sided at the border.

    Returns:
        (B, *S), no unit.
    """
    _difference(mode)
    reference = partial(_determinant, mode=mode)
    if usable(displacement):
        return determinant(displacement, central=mode == "central", reference=reference)
    return reference(displacement)


def _determinant(displacement: Tensor, *, mode: DifferenceMode) -> Tensor:
    ndim = displacement.ndim - 2
    difference = _difference(mode)
    # columns[a][:, k] = ∂u_k/∂x_a; one fused difference per axis serves all components
    columns = [difference(displacement, axis) for axis in range(ndim)]
    rows = [
        [column[:, k] + 1 if axis == k else column[:, k] for axis, column in enumerate(columns)]
        for k in range(ndim)
    ]
    return _DETERMINANTS[ndim](rows)


def _determinant_2d(rows: list[list[Tensor]]) -> Tensor:
    (a, b), (c, d) = rows
    return a * d - b * c


def _determinant_3d(rows: list[list[Tensor]]) -> Tensor:
    (a, b, c), (d, e, f), (g, h, i) = rows
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)


def _repeat_last(field: Tensor, inner: Tensor, dim: int) -> Tensor:
    if inner.shape[dim] == 0:
        return torch.zeros_like(field)
    return torch.cat([inner, inner.narrow(dim, inner.shape[dim] - 1, 1)], dim)


def _zero_last(field: Tensor, inner: Tensor, dim: int) -> Tensor:
    return torch.cat([inner, torch.zeros_like(field.narrow(dim, 0, 1))], dim)


def _no_last(field: Tensor, inner: Tensor, dim: int) -> Tensor:
    return inner


_FORWARD_ENDS: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {
    "one_sided": _repeat_last,
    "replicate": _zero_last,
    "drop": _no_last,
}
_DIFFERENCES: dict[str, Callable[[Tensor, int], Tensor]] = {
    "central": central_difference,
    "forward": forward_difference,
}
_DETERMINANTS = {2: _determinant_2d, 3: _determinant_3d}


def _known(boundary: str) -> str:
    if boundary not in _FORWARD_ENDS:
        raise ValueError(f"unknown boundary {boundary!r}; choose from {', '.join(_FORWARD_ENDS)}")
    return boundary


def _difference(mode: str) -> Callable[[Tensor, int], Tensor]:
    if mode not in _DIFFERENCES:
        raise ValueError(f"unknown difference {mode!r}; choose from {', '.join(_DIFFERENCES)}")
    return _DIFFERENCES[mode]
