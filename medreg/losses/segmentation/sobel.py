"""Sobel maps: smoothed differences between the neighbours of a voxel, along every axis."""

from __future__ import annotations

from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

_SMOOTH, _SLOPE = (1.0, 2.0, 1.0), (1.0, 0.0, -1.0)
_CONVOLUTIONS = {2: F.conv2d, 3: F.conv3d}


def sobel(values: Tensor, *, blind: bool = False) -> Tensor:
    """Sobel map along every axis: [1, 0, −1] along it, [1, 2, 1] along the others, zeros outside.

    Args:
        values: (N, C, *S), S of two or three axes.
        blind: the defect of the released code of AdvChain, in 3-D only: the kernel of the first axis is that of the
            second, so that steps along the first are not seen.

    Returns:
        (N, C, D, *S), the map along axis k at index k of the third dimension.

    References:
        Chen et al., Enhancing MR Image Segmentation with Realistic Adversarial Data Augmentation, MedIA 2022
        (released code cherise215/advchain ed5cd70, `contour_loss`).
    """
    ndim = values.ndim - 2
    kernels = [_kernel(axis, ndim) for axis in range(ndim)]
    if blind and ndim == 3:
        kernels[0] = kernels[1]
    weight = torch.stack(kernels).unsqueeze(1).to(values)
    maps = _CONVOLUTIONS[ndim](values.flatten(0, 1).unsqueeze(1), weight, padding=1)
    return maps.unflatten(0, values.shape[:2])


def _kernel(axis: int, ndim: int) -> Tensor:
    """(3,)·ndim kernel of the derivative along one axis."""
    lines = [torch.tensor(_SLOPE if other == axis else _SMOOTH) for other in range(ndim)]
    return reduce(lambda left, right: left.unsqueeze(-1) * right, lines)
