"""A short symmetric filter along every axis, zeros outside: sums of shifted arrays, on any device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.autograd import Function


def filtered_with_zeros(field: Tensor, weights: Sequence[float]) -> Tensor:
    """Convolution along each axis of S. With three or four weights a tenth of the time of dense matrices.

    Args:
        field: (B, C, *S).
        weights: of the centre, and of the neighbours on either side, nearest first.

    Returns:
        (B, C, *S), differentiable as often as one likes.
    """
    result: Tensor = _Filtered.apply(field, tuple(weights))
    return result


class _Filtered(Function):
    """A symmetric filter is its own adjoint."""

    @staticmethod
    def forward(ctx: Any, field: Tensor, weights: tuple[float, ...]) -> Tensor:
        ctx.weights = weights
        for axis in range(2, field.ndim):
            field = _along(field, axis, weights)
        return field

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None]:
        return filtered_with_zeros(upstream[0], ctx.weights), None


def _along(field: Tensor, axis: int, weights: tuple[float, ...]) -> Tensor:
    out, size = field * weights[0], field.shape[axis]
    for reach, weight in enumerate(weights[1:], start=1):
        rest = size - reach
        if rest > 0:
            out.narrow(axis, reach, rest).add_(field.narrow(axis, 0, rest), alpha=weight)
            out.narrow(axis, 0, rest).add_(field.narrow(axis, reach, rest), alpha=weight)
    return out
