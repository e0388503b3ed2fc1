"""Sums over the Jacobian determinant of a field, plane by plane."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medreg.kernels.compile import kernel

Array = NDArray[Any]
_SUMS = frozenset({"contract", "reassoc", "nsz"})


@kernel
def roughness(start: int, stop: int, det: Array, sums: Array) -> None:
    """Σ |∂_a det| over a plane for each axis, by central differences, one-sided at the border.

    Args:
        start: first plane, counted over all items.
        stop: last plane + 1.
        det: (N, X, Y, Z), two voxels or more along each axis but for a second axis of one, whose sum is 0.
        sums: (N·X, 3) written.
    """
    for plane in range(start, stop):
        item, x = plane // det.shape[1], plane % det.shape[1]
        low, high = max(x - 1, 0), min(x + 1, det.shape[1] - 1)
        sums[plane, 0] = sums[plane, 1] = sums[plane, 2] = 0.0
        for y in range(det.shape[2]):
            left, right = max(y - 1, 0), min(y + 1, det.shape[2] - 1)
            sums[plane, 0] += _across(det, item, low, y, high, y) / (high - low)
            if right > left:
                sums[plane, 1] += _across(det, item, x, left, x, right) / (right - left)
            sums[plane, 2] += _along(det, item, x, y)


@kernel(fastmath=_SUMS)
def _across(det: Array, item: int, x: int, y: int, x_other: int, y_other: int) -> float:
    total = 0.0
    for z in range(det.shape[3]):
        total += abs(det[item, x_other, y_other, z] - det[item, x, y, z])
    return total


@kernel(fastmath=_SUMS)
def _along(det: Array, item: int, x: int, y: int) -> float:
    end, total = det.shape[3] - 1, 0.0
    for z in range(1, end):
        total += abs(det[item, x, y, z + 1] - det[item, x, y, z - 1])
    first, last = det[item, x, y, 1] - det[item, x, y, 0], det[item, x, y, end] - det[item, x, y, end - 1]
    return 0.5 * total + abs(first) + abs(last)


@kernel
def logarithms(
    start: int, stop: int, det: Array, shift: float, low: float, high: float, centre: float, sums: Array
) -> None:
    """Σ (l − c) and Σ (l − c)² over a plane, l = ln(clip(det + shift)).

    Args:
        start: first plane.
        stop: last plane + 1.
        det: (P, V) planes.
        shift: added to the determinant.
        low: lower bound before the logarithm.
        high: upper bound.
        centre: c, a value near the mean, so that no digits cancel.
        sums: (P, 2) written.
    """
    for plane in range(start, stop):
        first, second = 0.0, 0.0
        for n in range(det.shape[1]):
            value = det[plane, n] + shift
            above = low if value < low else value
            logarithm = np.log(high if above > high else above) - centre
            first += logarithm
            second += logarithm * logarithm
        sums[plane, 0], sums[plane, 1] = first, second
