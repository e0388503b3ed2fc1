"""Sums over a box around every voxel at a cost that does not depend on the size of the box."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from medreg.kernels.box import box_sums
from medreg.kernels.compile import run_chunks
from medreg.kernels.dispatch import usable, view


def box_sum(values: Tensor, window: int) -> Tensor:
    """Sum over the window^D box centred at each voxel; voxels outside the array count as 0.

    Runs along one axis after the other. Each axis is cut into blocks of `window` voxels and prefix sums are
    taken inside the blocks only, so a window sum is the tail of one block plus the head of the next: three
    passes whatever the window, and no long running sum whose rounding would swamp small windows. The kernel
    has running sums, in float64.

    Args:
        values: (B, C, *S).
        window: odd width in voxels, equal for all axes.

    Returns:
        (B, C, *S).
    """
    result: Tensor = _BoxSum.apply(values, window)
    return result


def window_count(shape: torch.Size, window: int, *, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Number of voxels of the array inside the box around each voxel, (1, 1, *S)."""
    count = torch.ones([1] * (len(shape) + 2), dtype=dtype, device=device)
    for axis, size in enumerate(shape):
        line = [1] * (len(shape) + 2)
        line[axis + 2] = size
        ones = torch.ones(line, dtype=dtype, device=device)
        count = count * _axis_sum(ones, window, axis + 2)
    return count


def extended_box_sum(values: Tensor, window: int) -> Tensor:
    """Sum over the window^D box centred at each voxel; outside the array its border value is repeated.

    Args:
        values: (B, C, *S).
        window: odd width in voxels, equal for all axes.

    Returns:
        (B, C, *S).
    """
    result: Tensor = _ExtendedBoxSum.apply(values, window)
    return result


class _ExtendedBoxSum(torch.autograd.Function):
    """Padding, box sum, cropping; linear, so that the derivative of the derivative is the sum itself."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, window: int) -> Tensor:
        ctx.window = window
        radius = window // 2
        padded = F.pad(values, [radius] * 2 * (values.ndim - 2), mode="replicate")
        return _inner(box_sum(padded, window), radius)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _ExtendedBoxSumAdjoint.apply(gradients[0], ctx.window), None


class _ExtendedBoxSumAdjoint(torch.autograd.Function):
    """Zeros around the array, box sum, and what came to lie outside handed to the border."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, window: int) -> Tensor:
        ctx.window = window
        radius = window // 2
        sums = box_sum(F.pad(values, [radius] * 2 * (values.ndim - 2)), window)
        for axis in range(2, sums.ndim):
            size = sums.shape[axis]
            inner = sums.narrow(axis, radius, size - 2 * radius)
            inner.narrow(axis, 0, 1).add_(sums.narrow(axis, 0, radius).sum(axis, keepdim=True))
            last = inner.narrow(axis, inner.shape[axis] - 1, 1)
            last.add_(sums.narrow(axis, size - radius, radius).sum(axis, keepdim=True))
            sums = inner
        return sums

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return extended_box_sum(gradients[0], ctx.window), None


def _inner(values: Tensor, radius: int) -> Tensor:
    for axis in range(2, values.ndim):
        values = values.narrow(axis, radius, values.shape[axis] - 2 * radius)
    return values


class _BoxSum(torch.autograd.Function):
    """A symmetric box with zeros outside is its own adjoint, so the backward pass is the forward pass."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, window: int) -> Tensor:
        ctx.window = window
        if usable(values) and values.ndim in (4, 5):
            return _compiled(values, window)
        for axis in range(2, values.ndim):
            values = _axis_sum(values, window, axis)
        return values

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return box_sum(gradients[0], ctx.window), None


def _compiled(values: Tensor, window: int) -> Tensor:
    shape, radius = values.shape[2:], window // 2
    volume = (shape[0], 1, shape[1]) if len(shape) == 2 else tuple(shape)
    items = values.shape[0] * values.shape[1]
    # The planes around the seams of slabs are added up twice.
    parts = max(1, min(volume[0] // (10 * radius), -(-8 // items))) if radius else 1
    radii = np.array([radius, radius if len(shape) == 3 else 0, radius])
    out = torch.empty(values.shape, dtype=values.dtype)
    source, target = view(values).reshape(items, *volume), out.numpy().reshape(items, *volume)
    run_chunks(box_sums, items * parts, parts, source, radii, target, work=values.numel())
    return out


def _axis_sum(values: Tensor, window: int, axis: int) -> Tensor:
    size = values.shape[axis]
    radius = window // 2
    blocks = -(-size // window) + 1
    # One leading voxel more than the radius: the window of voxel i is then the padded (i, i + window].
    padding = [0, 0] * (values.ndim - 1 - axis) + [radius + 1, blocks * window - size - radius - 1]
    prefix = F.pad(values, padding).unflatten(axis, (blocks, window)).cumsum(axis + 1)
    tail = prefix.narrow(axis + 1, window - 1, 1) - prefix
    sums = tail.narrow(axis, 0, blocks - 1) + prefix.narrow(axis, 1, blocks - 1)
    return sums.flatten(axis, axis + 1).narrow(axis, 0, size)
