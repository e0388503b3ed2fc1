"""Sums of q(x)·density(u)(x) over a grid, of penalties on finite differences, together with their gradient.

A field is cut into slabs along its first axis. A kernel goes through its slab row by row: it forms the
differences of a row, adds q times their squares to the sum, and adds what they contribute to the gradient to
the neighbouring rows, of the slab alone; the contributions from the planes just outside are computed again.
One file an order of derivative; the densities are written out in `losses/regularisation`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Weights:
    """q, in the precision of the field: a map, or else the product of three lines.

    Attributes:
        map: (B, X, Y, Z), or of size 0.
        lines: X, Y and Z numbers; without a map q(x, y, z) is their product.
    """

    map: Array
    lines: tuple[Array, Array, Array]


def stencil_slabs(
    start: int,
    stop: int,
    parts: int,
    kernel: Callable[..., float],
    field: Array,
    weights: Weights,
    coefficients: Array,
    values: Array,
    gradient: Array,
) -> None:
    """Sum and gradient of each slab.

    Args:
        start: first slab; every sample has so many.
        stop: last slab + 1.
        parts: slabs a sample.
        kernel: compiled loop of a penalty.
        field: (B, D, X, Y, Z), a 2-D field as (B, 2, X, 1, Y).
        weights: q.
        coefficients: (B, …) of the kernel, in the precision of the field.
        values: (B·parts,) filled.
        gradient: (B, D, X, Y, Z) filled, or of size 0.
    """
    size, columns = field.shape[2], field.shape[4]
    for piece in range(start, stop):
        item, part = divmod(piece, parts)
        q = weights.map[item] if weights.map.size else field[item, 0, :0]
        out = gradient[item] if gradient.size else field[item, :, :0]
        first, last = size * part // parts, size * (part + 1) // parts
        if gradient.size:
            out[:, first:last] = 0.0
        scratch = np.zeros((12, columns + 2), field.dtype)
        values[piece] = kernel(first, last, field[item], q, *weights.lines, coefficients[item], out, scratch)
