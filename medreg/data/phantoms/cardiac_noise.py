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
    for axis, start in zip(axes, starts, strict=True):
        values = _spline_first_axis(values, (axis - start) / step).T
    return np.ascontiguousarray(values * np.float32(1.45))


def _spline_first_axis(values: Array, position: NDArray[np.floating]) -> Array:
    """Cubic B-spline along the first axis of (M, N) at positions (P,): (P, N).

    The four terms are added in a fixed order; a matrix product would add them in an order that depends on the
    number of threads, and the files would differ.
    """
    first = np.floor(position).astype(np.intp) - 1
    t = (position - first - 1)[:, None]
    weights = (
        (1 - t) ** 3 / 6,
        2 / 3 - t**2 + t**3 / 2,
        2 / 3 - (1 - t) ** 2 + (1 - t) ** 3 / 2,
        t**3 / 6,
    )
    out = np.zeros((len(position), values.shape[1]), dtype=np.float32)
    for k, weight in enumerate(weights):
        out += weight.astype(np.float32) * values[first + k]
    return out


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
