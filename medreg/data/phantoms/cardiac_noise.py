"""Smooth random planes and magnitude noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.float32]


def smooth_plane(
    axes: Sequence[NDArray[np.floating]], wavelength_mm: float, generator: np.random.Generator
) -> Array:
    """Random function of the plane of about unit variance: cubic spline of values half a wavelength apart.

    Args:
        axes: coordinates of rows and columns, mm.
        wavelength_mm: shortest wavelength.
        generator: source of the values.
    """
    step = wavelength_mm / 2
    starts = [float(axis.min()) - 3 * step for axis in axes]
    counts = [int(np.ceil((float(axis.max()) - s) / step)) + 4 for axis, s in zip(axes, starts, strict=True)]
    values = generator.standard_normal(counts).astype(np.float32)
    positions = [(axis - s) / step for axis, s in zip(axes, starts, strict=True)]
    rows, columns = (_spline(p, n) for p, n in zip(positions, counts, strict=True))
    return (rows @ values @ columns.T * np.float32(1.45)).astype(np.float32)


def _spline(position: NDArray[np.floating], count: int) -> Array:
    """Matrix of the cubic B-spline, (len(position), count)."""
    distance = np.abs(position[:, None] - np.arange(count)[None])
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = np.maximum(2 - distance, 0) ** 3 / 6
    return np.where(distance < 1, near, far).astype(np.float32)


def noise_bank(size: int, sigma: float, generator: np.random.Generator) -> Array:
    """Periodic smooth noise of unit variance, (size, size), from which windows are cut."""
    plane = ndimage.gaussian_filter(
        generator.standard_normal((size, size)).astype(np.float32), sigma, mode="wrap"
    )
    return plane / plane.std()


def window(bank: Array, shape: tuple[int, int], generator: np.random.Generator) -> Array:
    """Cut a window at a random place of a periodic bank."""
    rows, columns = (
        (np.arange(n) + generator.integers(m)) % m for n, m in zip(shape, bank.shape, strict=True)
    )
    return bank[np.ix_(rows, columns)]


def rician(signal: Array, sigma: float, generator: np.random.Generator) -> Array:
    """Magnitude of a signal with complex Gaussian noise of standard deviation sigma per channel."""
    real, imaginary = generator.standard_normal((2, *signal.shape), dtype=np.float32) * np.float32(sigma)
    return np.hypot(signal + real, imaginary)
