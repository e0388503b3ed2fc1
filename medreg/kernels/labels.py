"""Look-up and counting of label maps in one pass."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from medreg.kernels.compile import kernel

Array = NDArray[Any]


@kernel
def look_up(start: int, stop: int, labels: Array, table: Array, out: Array) -> None:
    """Entry of the table for each label; labels beyond it read 0.

    Args:
        start: first voxel.
        stop: last voxel + 1.
        labels: (V,) integers.
        table: (T,) of any type.
        out: (V,) written.
    """
    for n in range(start, stop):
        label = labels[n]
        out[n] = table[label] if 0 <= label < table.size else 0


@kernel
def count_pairs(
    start: int, stop: int, parts: int, first: Array, second: Array, bins: int, counts: Array
) -> None:
    """Voxels of each part that carry i in the first and j in the second map; other values are not counted.

    Args:
        start: first part; an item is cut into so many runs of voxels.
        stop: last part + 1.
        parts: runs an item.
        first: (N, V) integers 0 … bins − 1.
        second: (N, V) alike.
        bins: number of values.
        counts: (N·parts, bins·bins) int64, zero at first.
    """
    voxels = first.shape[1]
    for piece in range(start, stop):
        item, part = piece // parts, piece % parts
        for n in range(voxels * part // parts, voxels * (part + 1) // parts):
            i, j = first[item, n], second[item, n]
            if 0 <= i < bins and 0 <= j < bins:
                counts[piece, i * bins + j] += 1
