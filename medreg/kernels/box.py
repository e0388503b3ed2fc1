"""Sums over a box around every voxel by running sums along the three axes, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medreg.kernels.compile import kernel

Array = NDArray[Any]


def box_sums(start: int, stop: int, parts: int, values: Array, radius: Array, out: Array) -> None:
    """Box sums of each slab; voxels outside the array count as 0.

    Args:
        start: first slab; an item is cut into so many along its first axis.
        stop: last slab + 1.
        parts: slabs an item.
        values: (items, X, Y, Z).
        radius: (3,) half widths of the box.
        out: (items, X, Y, Z) written.
    """
    size, rows, columns = values.shape[1:]
    for piece in range(start, stop):
        item, part = divmod(piece, parts)
        first, last = size * part // parts, size * (part + 1) // parts
        planes, row = np.zeros((rows, columns)), np.zeros(columns)
        prefix = np.zeros(columns + 2 * radius[2] + 1)
        _box_slab(first, last, values[item], radius, out[item], planes, row, prefix)


@kernel
def _box_slab(
    first: int, last: int, values: Array, radius: Array, out: Array, planes: Array, row: Array, prefix: Array
) -> None:
    """Planes first … last; `planes` holds the sums along the first axis, zero at the start."""
    size, behind = values.shape[0], radius[0]
    entered = left = max(0, first - behind)
    for x in range(first, last):
        while entered < min(x + behind + 1, size):
            _add_plane(planes, values, entered, 1.0)
            entered += 1
        while left < x - behind:
            _add_plane(planes, values, left, -1.0)
            left += 1
        for y in range(planes.shape[0]):
            _slide(row, planes, y, radius[1])
            _sum_along(out, x, y, row, prefix, radius[2])


@kernel
def _add_plane(planes: Array, values: Array, x: int, sign: float) -> None:
    for y in range(planes.shape[0]):
        for z in range(planes.shape[1]):
            planes[y, z] += sign * values[x, y, z]


@kernel
def _slide(row: Array, planes: Array, y: int, radius: int) -> None:
    """Bring the row from the box around y − 1 to that around y; y = 0 starts afresh."""
    rows = planes.shape[0]
    if y == 0:
        for z in range(row.size):
            row[z] = 0.0
    for enters in range(0 if y == 0 else y + radius, min(y + radius + 1, rows)):
        for z in range(row.size):
            row[z] += planes[enters, z]
    if y > radius:
        for z in range(row.size):
            row[z] -= planes[y - radius - 1, z]


@kernel
def _sum_along(out: Array, x: int, y: int, row: Array, prefix: Array, radius: int) -> None:
    """Differences of prefix sums, which lie one radius to the right and stay at their last value."""
    total = 0.0
    for z in range(row.size):
        total += row[z]
        prefix[z + radius + 1] = total
    for z in range(row.size + radius + 1, prefix.size):
        prefix[z] = total
    for z in range(row.size):
        out[x, y, z] = prefix[z + 2 * radius + 1] - prefix[z]
