"""Images of any size in the cubic frame that a network with a fully connected layer was built for."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from medreg.geometry.compose import resize

_POOLS = {2: F.avg_pool2d, 3: F.avg_pool3d}


def framed(image: Tensor, size: int) -> Tensor:
    """Image in the middle of a frame of `size` voxels along every axis, its proportions kept, zeros around it.

    The longest axis fills the frame. Large images are first averaged over blocks of whole voxels, then interpolated;
    small ones are interpolated. Differentiable as often as one likes, linear in the image.

    Args:
        image: (B, C, *S), isotropic voxels.
        size: N, voxels.

    Returns:
        (B, C, N, …, N).
    """
    shape = tuple(image.shape[2:])
    if all(length == size for length in shape):
        return image
    block = max(max(shape) // size, 1)
    if block > 1:
        image = _POOLS[len(shape)](_centred(image, [-(-length // block) * block for length in shape]), block)
    longest = max(image.shape[2:])
    target = [max(round(length * size / longest), 1) for length in image.shape[2:]]
    return _centred(resize(image, target), [size] * len(target))


def _centred(image: Tensor, shape: list[int]) -> Tensor:
    """Zeros around the image until it has a shape that is nowhere smaller."""
    padding: list[int] = []
    for old, new in zip(reversed(image.shape[2:]), reversed(shape), strict=True):
        padding += [(new - old) // 2, new - old - (new - old) // 2]
    return F.pad(image, padding) if any(padding) else image
