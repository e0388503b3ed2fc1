"""Gaussian smoothing of images and update fields."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

_CONVOLVE = {2: F.conv2d, 3: F.conv3d}


def gaussian_kernel(sigma: float, *, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Samples of exp(−x²/2σ²) to three σ on each side, normalised to sum 1."""
    radius = max(1, math.ceil(3 * sigma))
    x = torch.arange(-radius, radius + 1, dtype=dtype, device=device)
    kernel = torch.exp(-x.square() / (2 * sigma**2))
    return kernel / kernel.sum()


def gaussian_smooth(image: Tensor, sigma: float | Sequence[float]) -> Tensor:
    """Convolve every channel with a Gaussian, axis by axis, border values repeated outside.

    A constant image stays constant up to the border, which smoothing with zeros outside would not give.

    Args:
        image: (B, C, *S).
        sigma: standard deviation in voxels, one for all axes or one an axis; 0 leaves an axis alone.
    """
    ndim = image.ndim - 2
    sigmas = [float(sigma)] * ndim if isinstance(sigma, int | float) else [float(s) for s in sigma]
    batch, channels = image.shape[:2]
    folded = image.reshape(batch * channels, 1, *image.shape[2:])
    for axis, width in enumerate(sigmas):
        if width <= 0:
            continue
        kernel = gaussian_kernel(width, dtype=image.dtype, device=image.device)
        padding = [0, 0] * ndim
        padding[2 * (ndim - 1 - axis)] = padding[2 * (ndim - 1 - axis) + 1] = len(kernel) // 2
        window = [1] * ndim
        window[axis] = len(kernel)
        folded = _CONVOLVE[ndim](F.pad(folded, padding, mode="replicate"), kernel.reshape(1, 1, *window))
    return folded.reshape(image.shape)
