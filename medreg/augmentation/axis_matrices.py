"""Smoothing, upsampling and splines along one axis, as matrices for `medreg.geometry.separable`."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class ControlAxis(NamedTuple):
    """Control points along one axis of an image, all sizes in voxels of the coarse grid but `size`.

    Attributes:
        size: voxels S of the image.
        coarse: samples L at which the spline is evaluated before it is upsampled, ⌈S/d⌉.
        spacing: samples s between control points.
        points: control points K = ⌈L/s⌉ + 2.
        start: position of the first sample; control point p lies at p·s.
    """

    size: int
    coarse: int
    spacing: int
    points: int
    start: int


def control_axis(size: int, spacing: int, downscale: int) -> ControlAxis:
    """Where the control points of an axis lie: those of the release, samples centred between them.

    Args:
        size: S, voxels.
        spacing: distance of control points, voxels of the image.
        downscale: voxels of the image for each sample.
    """
    coarse, step = -(-size // downscale), max(1, spacing // downscale)
    inner = -(-coarse // step)
    margin = coarse - (step * (inner - 1) + 1)
    return ControlAxis(size, coarse, step, inner + 2, step - (margin + 1) // 2)


def spline_matrix(key: tuple[int, ...]) -> Tensor:
    """(S, K) float64, from the control points of a `ControlAxis` to voxels: a cubic B-spline, then upsampling.

    The spline is the discrete one of the release, a box of width s convolved with itself three times, over s³; it is
    non-negative and its translates sum to 1. It differs from the continuous one of `medreg.geometry.bspline` by the
    order of 1/s².
    """
    axis = ControlAxis(*key)
    kernel = box = torch.ones(axis.spacing, dtype=torch.float64)
    for _ in range(3):
        kernel = _convolve(kernel, box) / axis.spacing
    reach = len(kernel) // 2
    positions = axis.start + torch.arange(axis.coarse)
    offset = positions.unsqueeze(1) - axis.spacing * torch.arange(axis.points)
    weights = kernel[(offset + reach).clamp(0, 2 * reach)] * (offset.abs() <= reach)
    return linear_matrix((axis.coarse, axis.size)) @ weights


def linear_matrix(key: tuple[int, ...]) -> Tensor:
    """(M, n) float64, linear interpolation of n samples at M voxels of the same extent (`align_corners=False`)."""
    before, after = key
    position = ((torch.arange(after, dtype=torch.float64) + 0.5) * (before / after) - 0.5).clamp(min=0)
    lower = position.floor().long().clamp(max=before - 1)
    upper, part = (lower + 1).clamp(max=before - 1), position - lower
    matrix = torch.zeros(after, before, dtype=torch.float64)
    rows = torch.arange(after)
    matrix.index_put_((rows, lower), 1 - part, accumulate=True)
    return matrix.index_put_((rows, upper), part, accumulate=True)


def gaussian_weights(sigma: float, radius: int) -> list[float]:
    """Centre and one side of a Gaussian that is cut off and normalised."""
    kernel = torch.exp(-torch.arange(radius + 1, dtype=torch.float64).square() / (2 * sigma**2))
    weights: list[float] = (kernel / (2 * kernel.sum() - kernel[0])).tolist()
    return weights


def gaussian_matrix(key: tuple[int, float, int]) -> Tensor:
    """(n, n) float64, convolution with `gaussian_weights`, zeros outside; key (n, σ, radius)."""
    size, sigma, radius = key
    kernel = torch.tensor(gaussian_weights(sigma, radius), dtype=torch.float64)
    offset = (torch.arange(size).unsqueeze(1) - torch.arange(size)).abs()
    return kernel[offset.clamp(max=radius)] * (offset <= radius)


def smooth_upsampling_matrix(key: tuple[int, int, float, int]) -> Tensor:
    """(M, n) float64, `gaussian_matrix` on n nodes, then `linear_matrix` to M voxels; key (n, M, σ, radius)."""
    before, after, sigma, radius = key
    return linear_matrix((before, after)) @ gaussian_matrix((before, sigma, radius))


def _convolve(first: Tensor, second: Tensor) -> Tensor:
    full = torch.nn.functional.conv1d(
        first.reshape(1, 1, -1), second.flip(0).reshape(1, 1, -1), padding=len(second) - 1
    )
    return full.flatten()
