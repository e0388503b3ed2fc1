"""Gaussian smoothing of images and update fields."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor


def gaussian_kernel(sigma: float, *, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Samples of exp(−x²/2σ²) to three σ on each side, normalised to sum 1."""
    radius = max(1, math.ceil(3 * sigma))
    x = torch.arange(-radius, radius + 1, dtype=dtype, device=device)
    kernel = torch.exp(-x.square() / (2 * sigma**2))
    return kernel / kernel.sum()


@lru_cache(maxsize=64)
def smoothing_matrix(size: int, sigma: float, *, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The convolution along an axis of so many voxels as a matrix (size, size), border values repeated outside."""
    with torch.inference_mode(False), torch.no_grad():
        kernel = gaussian_kernel(sigma, dtype=torch.float64, device=torch.device("cpu"))
        radius = len(kernel) // 2
        rows = torch.arange(size).unsqueeze(1).expand(-1, len(kernel))
        columns = (rows + torch.arange(-radius, radius + 1)).clamp(0, size - 1)
        matrix = torch.zeros(size, size, dtype=torch.float64)
        matrix.index_put_((rows, columns), kernel.expand(size, -1), accumulate=True)
        return matrix.to(device=device, dtype=dtype)


def gaussian_smooth(image: Tensor, sigma: float | Sequence[float]) -> Tensor:
    """Convolve every channel with a Gaussian, axis by axis, border values repeated outside.

    A constant image stays constant up to the border, which smoothing with zeros outside would not give. Each
    axis is one product with a matrix: more operations than the convolution has, but at the rate of matrix
    products, 3 to 10 times faster than torch's convolutions on processors.

    Args:
        image: (B, C, *S).
        sigma: standard deviation in voxels, one for all axes or one an axis; 0 leaves an axis alone.
    """
    ndim, shape = image.ndim - 2, image.shape
    sigmas = [float(sigma)] * ndim if isinstance(sigma, int | float) else [float(s) for s in sigma]
    for axis, width in enumerate(sigmas):
        if width <= 0:
            continue
        size = shape[2 + axis]
        matrix = smoothing_matrix(size, width, dtype=image.dtype, device=image.device)
        if axis == ndim - 1:
            image = image.reshape(-1, size) @ matrix.T
        else:
            image = matrix @ image.reshape(math.prod(shape[: 2 + axis]), size, -1)
    return image.reshape(shape)
