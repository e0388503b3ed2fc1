"""Symmetric filters along the axes of a grid, by short kernels where those are as good as whole matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from medreg.geometry.separable import MatrixOf, apply_per_axis
from medreg.kernels import mirrored
from medreg.kernels.compile import run_chunks
from medreg.kernels.dispatch import usable, view

_NEGLIGIBLE = 1e-8  # of the kernel's centre: below the rounding of float32
_COLUMNS = 16  # of the last axis at a time, where the band makes the work small


def filtered(field: Tensor, keys: Sequence[tuple[Any, ...]], matrix_of: MatrixOf) -> Tensor:
    """`apply_per_axis` of symmetric matrices that are convolutions of a grid continued by its mirror image.

    In float32 on a CPU, where the kernel has died away within half the axis, compiled loops along the first axes and
    narrow products along the last do the work, two to three times as fast; elsewhere it is that function.

    Args:
        field: (B, C, *S).
        keys: of the matrix of each axis, see `apply_per_axis`.
        matrix_of: from a key to a symmetric matrix (S_a, S_a).

    Returns:
        (B, C, *S).
    """
    if field.dtype == torch.float32 and usable(field):
        reaches = [_reach(key, matrix_of) for key in keys]
        if all(0 < reach < size // 2 for reach, size in zip(reaches, field.shape[2:], strict=True)):
            result: Tensor = _Filtered.apply(field, tuple(keys), matrix_of, tuple(reaches))
            return result
    return apply_per_axis(field, keys, matrix_of)


class _Filtered(torch.autograd.Function):
    """Its matrices are symmetric, so that the backward pass is the forward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        field: Tensor,
        keys: tuple[tuple[Any, ...], ...],
        matrix_of: MatrixOf,
        reaches: tuple[int, ...],
    ) -> Tensor:
        ctx.keys, ctx.matrix_of, ctx.reaches = keys, matrix_of, reaches
        for axis, key in enumerate(keys):
            matrix = _single(key, matrix_of)
            along = _last if axis == len(keys) - 1 else _across
            field = along(field, axis + 2, matrix, reaches[axis])
        return field

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        return _Filtered.apply(gradients[0], ctx.keys, ctx.matrix_of, ctx.reaches), None, None, None


def _across(field: Tensor, axis: int, matrix: Tensor, reach: int) -> Tensor:
    size, shape = field.shape[axis], field.shape
    columns = math.prod(shape[axis + 1 :])
    middle = size // 2
    weights = matrix[middle, middle : middle + reach + 1].contiguous().numpy()
    out = torch.empty_like(field, memory_format=torch.contiguous_format)
    arrays = [view(tensor).reshape(-1, size, columns) for tensor in (field, out)]
    count = len(arrays[0]) * mirrored.column_blocks(columns)
    run_chunks(mirrored.across, count, arrays[0], weights, arrays[1], work=2 * field.numel())
    return out


def _last(field: Tensor, axis: int, matrix: Tensor, reach: int) -> Tensor:
    lines = field.reshape(-1, field.shape[axis])
    size, out = lines.shape[1], torch.empty_like(lines)
    for first in range(0, size, _COLUMNS):
        last = min(first + _COLUMNS, size)
        low, high = max(0, first - reach), min(size, last + reach)
        torch.mm(lines[:, low:high], matrix[low:high, first:last], out=out[:, first:last])
    return out.view(field.shape)


@lru_cache(maxsize=64)
def _single(key: tuple[Any, ...], matrix_of: MatrixOf) -> Tensor:
    with torch.inference_mode(False), torch.no_grad():
        return matrix_of(key).float()


@lru_cache(maxsize=64)
def _reach(key: tuple[Any, ...], matrix_of: MatrixOf) -> int:
    """Points beside the centre that matter, in steps of the kernel's loop; as many as the axis has if all do."""
    with torch.inference_mode(False), torch.no_grad():
        matrix = matrix_of(key)
    size = len(matrix)
    beside = (matrix[size // 2, size // 2 :] / matrix[size // 2, size // 2]).abs()
    reach = int(torch.where(beside > _NEGLIGIBLE)[0].max())
    return min(size, max(1, -(-reach // mirrored.TAPS)) * mirrored.TAPS)
