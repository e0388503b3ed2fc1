"""Convolution with a short symmetric kernel along one axis. `inference/smoothing.py` has the same in torch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medreg.kernels.compile import kernel

Array = NDArray[Any]
# Fused multiply-add; NaN and infinity stay what they are
_FMA = frozenset({"contract"})
# Columns that are taken at a time, so that the rows a window covers stay in the first-level cache
_BLOCK = 512


@kernel(fastmath=_FMA)
def _weighted(near: Array, far: Array, weight: Any, total: Array) -> None:
    for i in range(np.uint64(total.size)):
        total[i] += weight * (near[i] + far[i])


@kernel(fastmath=_FMA)
def across(start: int, stop: int, image: Array, weights: Array, out: Array) -> None:
    """Convolve along the middle axis, border values repeated outside, for blocks of columns start … stop.

    Args:
        start: first block, counted over the first axis.
        stop: block after the last.
        image: (A, N, M).
        weights: (R + 1,), the centre and one side of the kernel.
        out: (A, N, M), written.
    """
    size, columns = image.shape[1], image.shape[2]
    many = (columns + _BLOCK - 1) // _BLOCK
    total = np.empty(_BLOCK, out.dtype)
    for block in range(start, stop):
        a, first = block // many, block % many * _BLOCK
        last = min(first + _BLOCK, columns)
        sums = total[: last - first]
        for n in range(size):
            centre, row = image[a, n, first:last], out[a, n, first:last]
            for i in range(np.uint64(sums.size)):
                sums[i] = weights[0] * centre[i]
            for t in range(1, weights.size):
                near, far = max(n - t, 0), min(n + t, size - 1)
                _weighted(image[a, near, first:last], image[a, far, first:last], weights[t], sums)
            for i in range(np.uint64(sums.size)):
                row[i] = sums[i]


@kernel(fastmath=_FMA)
def along(start: int, stop: int, image: Array, weights: Array, out: Array) -> None:
    """Convolve along the last axis, border values repeated outside, for lines start … stop.

    Args:
        start: first line.
        stop: line after the last.
        image: (A, M).
        weights: (R + 1,), the centre and one side of the kernel.
        out: (A, M), written.
    """
    size, radius = image.shape[1], weights.size - 1
    padded, sums = np.empty(size + 2 * radius, out.dtype), np.empty(size, out.dtype)
    for a in range(start, stop):
        line, row = image[a], out[a]
        for t in range(radius):
            padded[t], padded[radius + size + t] = line[0], line[size - 1]
        for i in range(np.uint64(size)):
            padded[np.uint64(radius) + i] = line[i]
            sums[i] = weights[0] * line[i]
        for t in range(1, weights.size):
            _weighted(padded[radius - t : radius - t + size], padded[radius + t :], weights[t], sums)
        for i in range(np.uint64(size)):
            row[i] = sums[i]


def column_blocks(columns: int) -> int:
    """Number of blocks that `across` makes of so many columns."""
    return -(-columns // _BLOCK)
