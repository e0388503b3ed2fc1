"""Convolution with a short symmetric kernel along an axis that is not the last, continued by its mirror image.

`geometry/sobolev.py` has the same as a product with a matrix. Kernels have R = 3, 6, 9, … points beside their centre,
filled up with zeros: three are added in one pass over a row.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medreg.kernels.compile import kernel

Array = NDArray[Any]
_FMA = frozenset({"contract"})  # NaN and infinity stay what they are
_BLOCK = 1024  # columns at a time: the rows that a kernel covers stay in the cache
TAPS = 3


@kernel(fastmath=_FMA)
def across(start: int, stop: int, image: Array, weights: Array, out: Array) -> None:
    """Convolve along the middle axis, blocks of columns start … stop.

    Args:
        start: first block, counted over the first axis.
        stop: block after the last.
        image: (A, N, M).
        weights: (R + 1,), the centre and one side of the kernel, R < N.
        out: (A, N, M), written.
    """
    size, columns = image.shape[1], image.shape[2]
    many = (columns + _BLOCK - 1) // _BLOCK
    buffer = np.empty(_BLOCK, out.dtype)
    for block in range(start, stop):
        a, begin = block // many, block % many * _BLOCK
        total = buffer[: min(begin + _BLOCK, columns) - begin]
        for n in range(size):
            _row(image, a, n, begin, weights, total)
            for i in range(np.uint64(total.size)):
                out[a, n, np.uint64(begin) + i] = total[i]


@kernel(fastmath=_FMA)
def _row(image: Array, a: int, n: int, begin: int, weights: Array, total: Array) -> None:
    """Row n of the convolution along the middle axis, as many columns as the total from `begin` on."""
    size, shift = image.shape[1], np.uint64(begin)
    plane, row = np.uint64(a), np.uint64(n)
    for i in range(np.uint64(total.size)):
        total[i] = weights[0] * image[plane, row, shift + i]
    for t in range(1, weights.size, 3):
        b0, b1, b2 = _before(n - t), _before(n - t - 1), _before(n - t - 2)
        f0, f1, f2 = _behind(n + t, size), _behind(n + t + 1, size), _behind(n + t + 2, size)
        w0, w1, w2 = weights[t], weights[t + 1], weights[t + 2]
        for i in range(np.uint64(total.size)):
            k = shift + i
            total[i] += (
                w0 * (image[plane, b0, k] + image[plane, f0, k])
                + w1 * (image[plane, b1, k] + image[plane, f1, k])
                + w2 * (image[plane, b2, k] + image[plane, f2, k])
            )


@kernel
def _before(n: int) -> Any:
    return np.uint64(n if n >= 0 else -1 - n)


@kernel
def _behind(n: int, size: int) -> Any:
    return np.uint64(n if n < size else 2 * size - 1 - n)


def column_blocks(columns: int) -> int:
    """Number of blocks that `across` makes of so many columns."""
    return -(-columns // _BLOCK)
