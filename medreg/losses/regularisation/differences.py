"""Finite differences of the regularisers: forward first derivatives, compact three-point second ones.

They are defined on the cells or inner voxels where the whole stencil fits and never read beyond the border:
what a regulariser knows at the border is what it knows at the nearest inner voxel (`spread_to_border`), so a
linear field has no second derivative and a quadratic one a constant, up to the border.
"""

from __future__ import annotations

from itertools import product
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from medreg.errors import DataError


def second_difference(field: Tensor, first: int, second: int) -> Tensor:
    """∂²/∂x_a∂x_b at the inner voxels, (B, D, *(S − 2)), per voxel².

    a = b: f(+1) − 2 f(0) + f(−1), which sees a checkerboard; a ≠ b: (f(+,+) − f(+,−) − f(−,+) + f(−,−)) / 4.

    Args:
        field: (B, D, *S).
        first: spatial axis a, 0 … D − 1.
        second: spatial axis b.
    """
    result: Tensor = _Second.apply(field, first, second)
    return result


def cell_difference(field: Tensor, axis: int) -> Tensor:
    """f(x + 1) − f(x) along a spatial axis, on all voxels but the last of every axis, (B, D, *(S − 1))."""
    for other in range(field.ndim - 2):
        if other != axis:
            field = field.narrow(other + 2, 0, field.shape[other + 2] - 1)
    return field.diff(dim=axis + 2)


def spread_to_border(density: Tensor, *, before: int, after: int) -> Tensor:
    """Repeat the outermost values of (B, 1, *S) by so many voxels at the start and end of every axis."""
    return F.pad(density, [before, after] * (density.ndim - 2), mode="replicate")


def require_size(field: Tensor, smallest: int, name: str) -> None:
    """Raise `DataError` if an axis is too short for the stencil."""
    if min(field.shape[2:]) < smallest:
        raise DataError(
            f"{name} needs {smallest} voxels along every axis but the field has size "
            f"{tuple(field.shape[2:])}; use fewer pyramid levels or a larger crop."
        )


class _Second(torch.autograd.Function):
    """The stencil with its adjoint as backward pass: one output array instead of one a stencil point."""

    @staticmethod
    def forward(ctx: Any, field: Tensor, first: int, second: int) -> Tensor:
        ctx.shape, ctx.axes = field.shape, (first, second)
        points = _stencil(first, second)
        result = points[0].factor * _inner(field, points[0].shift)
        for point in points[1:]:
            result.add_(_inner(field, point.shift), alpha=point.factor)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return _SecondAdjoint.apply(gradients[0], ctx.shape, *ctx.axes), None, None


class _SecondAdjoint(torch.autograd.Function):
    """Transpose of `_Second`."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, shape: torch.Size, first: int, second: int) -> Tensor:
        ctx.axes = (first, second)
        field = values.new_zeros(shape)
        for point in _stencil(first, second):
            _inner(field, point.shift).add_(values, alpha=point.factor)
        return field

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        return _Second.apply(gradients[0], *ctx.axes), None, None, None


class _Point(NamedTuple):
    shift: dict[int, int]
    factor: float


def _stencil(first: int, second: int) -> list[_Point]:
    if first == second:
        return [_Point({}, -2.0), _Point({first: 1}, 1.0), _Point({first: -1}, 1.0)]
    return [_Point({first: p, second: q}, 0.25 * p * q) for p, q in product((-1, 1), repeat=2)]


def _inner(field: Tensor, shift: dict[int, int]) -> Tensor:
    for axis in range(field.ndim - 2):
        field = field.narrow(axis + 2, 1 + shift.get(axis, 0), field.shape[axis + 2] - 2)
    return field
