"""Images in memory as tensors of three axes; a 2-D image is one slice."""

from __future__ import annotations

import torch
from torch import Tensor

from medreg.geometry.grid import Grid
from medreg.io.image import Volume


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
