"""Nearest-neighbour warping of labels in one sweep. `geometry/warp.py` has the same in torch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medreg.kernels.compile import kernel

Array = NDArray[Any]


@kernel
def _index(start: Any, gain: Any, steps: Array, move: Array, size: int, cell: Array, outside: Array) -> None:
    """Along one axis: append the rounded position to the flat index, and mark what lies outside the image."""
    kind = move.dtype.type
    zero, last, moving = kind(0), kind(size - 1), steps.size > 0
    for z in range(np.uint64(cell.size)):
        p = np.rint((steps[z] if moving else start) + gain * move[z])
        q = p if p > zero else zero
        q = q if q < last else last
        outside[z] |= p != q
        cell[z] = cell[z] * np.int32(size) + np.int32(q)


@kernel
def nearest(
    start: int, stop: int, image: Array, sizes: Any, moves: Array, shape: Any, bases: Array, gains: Array,
    border: bool, out: Array,
) -> None:  # fmt: skip
    """Labels of lines start … stop of the grid, counted over the batch; halves round to even.

    A position that is not a number counts as outside, next to voxel 0.

    Args:
        start: first line along the last axis.
        stop: line after the last.
        image: (B or 1, C, V), V = product of `sizes`, any numbers, copied as they are.
        sizes: three voxel counts of the image, the first 1 in two dimensions.
        moves: (B or 1, D, N), voxels.
        shape: three voxel counts of the grid, N in all.
        bases: (3, longest axis), position of every index without displacement.
        gains: (3,), factors of the displacement.
        border: border value outside, otherwise zero.
        out: (B, C, N), written.
    """
    absent, columns = 3 - moves.shape[1], shape[2]
    lines = shape[0] * shape[1]
    cell, outside = np.empty(columns, np.int32), np.empty(columns, np.bool_)
    for item in range(start, stop):
        b, line = item // lines, item % lines
        first = line * columns
        index = (line // shape[1], line % shape[1], 0)
        for z in range(columns):
            cell[z], outside[z] = 0, False
        for axis in range(absent, 3):
            move = moves[b % moves.shape[0], axis - absent, first : first + columns]
            steps = bases[axis, : columns if axis == 2 else 0]
            _index(bases[axis, index[axis]], gains[axis], steps, move, sizes[axis], cell, outside)
        for c in range(image.shape[1]):
            source, row = image[b % image.shape[0], c], out[b, c, first : first + columns]
            for z in range(columns):
                row[z] = source[np.uint64(cell[z])]
            if not border:
                for z in range(columns):
                    row[z] = 0 if outside[z] else row[z]
