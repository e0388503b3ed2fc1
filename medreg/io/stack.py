"""Images in memory as tensors of three axes; a 2-D image is one slice."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medreg.geometry.grid import Grid
from medreg.io.image import Volume

THICK = 1.5  # times the spacing in plane, from which an axis is the one across slices


def across_slices(shape: Sequence[int], spacing_mm: Sequence[float]) -> int | None:
    """Return the axis across slices: the single layer (the last of several), else the axis of far wider spacing.

    Args:
        shape: (X, Y, Z).
        spacing_mm: voxel size along each axis.

    Returns:
        The axis, or None for a volume of about cubic voxels, whose header does not say how it was cut.
    """
    if 1 in shape:
        return max(axis for axis, size in enumerate(shape) if size == 1)
    widest = max(range(len(shape)), key=lambda axis: spacing_mm[axis])
    others = [mm for axis, mm in enumerate(spacing_mm) if axis != widest]
    return widest if spacing_mm[widest] >= THICK * max(others) else None


def stack_shape(volume: Volume) -> tuple[int, int, int]:
    """Return the array shape with a third axis of length one for 2-D files."""
    x, y, z = (*volume.shape, 1)[:3]
    return x, y, z


def grid_of(volume: Volume) -> Grid:
    """Return the 3-D grid of an image; a 2-D image is one slice."""
    return Grid(stack_shape(volume), torch.from_numpy(volume.affine))


def tensor_of(volume: Volume, *, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the array as (1, 1, X, Y, Z)."""
    return torch.from_numpy(volume.array.reshape(1, 1, *stack_shape(volume))).to(dtype)
