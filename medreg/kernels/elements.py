"""Boxes of structures in a label map, and the elements of their surfaces, each in one sweep over three axes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medreg.kernels.compile import kernel

Array = NDArray[Any]


@kernel
def label_boxes(labels: Array, first: Array, last: Array) -> None:
    """Smallest and largest index along each axis of every label 1 … L; other values are passed over.

    Args:
        labels: (X, Y, Z) integers.
        first: (L + 1, 3), beyond the map at first.
        last: (L + 1, 3), −1 at first.
    """
    size_x, size_y, size_z = labels.shape
    for x in range(size_x):
        for y in range(size_y):
            z = 0
            while z < size_z:
                label, start = labels[x, y, z], z
                while z < size_z and labels[x, y, z] == label:
                    z += 1
                if 0 < label < first.shape[0]:
                    first[label, 0] = min(first[label, 0], x)
                    first[label, 1] = min(first[label, 1], y)
                    first[label, 2] = min(first[label, 2], start)
                    last[label, 0] = max(last[label, 0], x)
                    last[label, 1] = max(last[label, 1], y)
                    last[label, 2] = max(last[label, 2], z - 1)


@kernel
def corner_patterns(mask: Array, margin: int, patterns: Array, places: Array) -> int:
    """Pattern of the eight voxels around each corner of the grid, where they are not all alike.

    Args:
        mask: (X, Y, Z) bool; what lies around it is outside.
        margin: corners that are left at each side of the output.
        patterns: (X+1, Y+1, Z+1) uint8 and the margin, zero at first; the first voxel has the highest bit.
        places: flat indices of the patterns that were written, in order; as long as the output.

    Returns:
        How many there are.
    """
    size_x, size_y, size_z = mask.shape
    flat, nothing, count = patterns.ravel(), np.zeros(size_z, np.bool_), 0
    for x in range(size_x + 1):
        for y in range(size_y + 1):
            a = mask[x - 1, y - 1] if x > 0 and y > 0 else nothing
            b = mask[x - 1, y] if x > 0 and y < size_y else nothing
            c = mask[x, y - 1] if x < size_x and y > 0 else nothing
            d = mask[x, y] if x < size_x and y < size_y else nothing
            place = ((x + margin) * patterns.shape[1] + y + margin) * patterns.shape[2] + margin
            before = 0
            for z in range(size_z + 1):
                here = (a[z] << 6) | (b[z] << 4) | (c[z] << 2) | np.int64(d[z]) if z < size_z else 0
                pattern = (before << 1) | here
                before = here
                if 0 < pattern < 255:
                    flat[place + z] = pattern
                    places[count] = place + z
                    count += 1
    return count


@kernel
def rim_voxels(mask: Array, margin: int, marks: Array, places: Array) -> int:
    """Voxels of a structure with a face neighbour outside it.

    Args:
        mask: (X, Y, Z) bool; what lies around it is outside.
        margin: voxels that are left at each side of the output.
        marks: (X, Y, Z) uint8 and the margin, zero at first; 1 is written.
        places: flat indices of the marks that were written, in order; as long as the output.

    Returns:
        How many there are.
    """
    size_x, size_y, size_z = mask.shape
    flat, count = marks.ravel(), 0
    for x in range(size_x):
        for y in range(size_y):
            row, edge = mask[x, y], x in (0, size_x - 1) or y in (0, size_y - 1)
            left, right = mask[x - 1 if x else x, y], mask[min(x + 1, size_x - 1), y]
            above, below = mask[x, y - 1 if y else y], mask[x, min(y + 1, size_y - 1)]
            place = ((x + margin) * marks.shape[1] + y + margin) * marks.shape[2] + margin
            for z in range(size_z):
                if not row[z]:
                    continue
                if (
                    edge
                    or z in (0, size_z - 1)
                    or not (left[z] and right[z] and above[z] and below[z] and row[z - 1] and row[z + 1])
                ):
                    flat[place + z] = 1
                    places[count] = place + z
                    count += 1
    return count
