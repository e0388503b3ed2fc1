"""Jacobian determinant of φ = id + u in one sweep, and its adjoint, without tensors of derivatives.

Space is always three axes; a field of two components lives on the last two. Work goes line by line: the nine
entries J_ka = δ_ka + ∂_a u_k of a line of voxels, then products. `geometry/derivatives.py` has the torch form.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medreg.kernels.compile import kernel

Array = NDArray[Any]
# Fused multiply-add; NaN and infinity stay what they are
_FMA = frozenset({"contract"})
_BLOCK = 512
# The entries J_ka of a line, row 3k + a of one array, so that the compiler sees that the rows do not overlap; then
# as many rows for the gradients in them
_J, _J2, _J3, _J4, _J5, _J6, _J7, _J8 = (np.uint64(_BLOCK * row) for row in range(1, 9))
_SHARES = np.uint64(9 * _BLOCK)


@kernel(fastmath=_FMA)
def _neighbours(index: int, size: int, central: bool) -> Any:
    """Lower and upper neighbour whose difference is the derivative, and its factor, 1 or ½."""
    if index == size - 1:
        return max(index - 1, 0), index, 1.0
    if index == 0 or not central:
        return index, index + 1, 1.0
    return index - 1, index + 1, 0.5


@kernel(fastmath=_FMA)
def _row(field: Array, k: int, x: int, y: int, first: int, count: int, central: bool, work: Array) -> None:
    """Row k of the matrix, from component u_k (X, Y, Z), for voxels first … first + count of line (x, y)."""
    kind, last = work.dtype.type, field.shape[2] - 1
    in_x, in_y, in_z = np.uint64(3 * k) * _J, np.uint64(3 * k + 1) * _J, np.uint64(3 * k + 2) * _J
    low, high, weight = _neighbours(x, field.shape[0], central)
    below_x, above_x, factor_x = field[low, y, first:], field[high, y, first:], kind(weight)
    low, high, weight = _neighbours(y, field.shape[1], central)
    below_y, above_y, factor_y = field[x, low, first:], field[x, high, first:], kind(weight)
    for i in range(np.uint64(count)):
        work[in_x + i] = factor_x * (above_x[i] - below_x[i])
        work[in_y + i] = factor_y * (above_y[i] - below_y[i])
    line, back = field[x, y], 1 if central else 0
    factor = kind(0.5 if central else 1.0)
    begin, end = max(first, 1), min(first + count, last)
    above, below = line[begin + 1 :], line[begin - back :]
    into = in_z + np.uint64(begin - first)
    for i in range(np.uint64(max(end - begin, 0))):
        work[into + i] = factor * (above[i] - below[i])
    if first == 0:
        work[in_z] = line[min(1, last)] - line[0]
    if first + count > last > 0:
        work[in_z + np.uint64(last - first)] = line[last] - line[last - 1]
    own = np.uint64(4 * k) * _J
    for i in range(np.uint64(count)):
        work[own + i] += kind(1)


@kernel(fastmath=_FMA)
def _matrix(field: Array, x: int, y: int, first: int, count: int, central: bool, work: Array) -> None:
    """Entries J_ka; a component that the field does not have keeps its row of the identity."""
    absent = 3 - field.shape[0]
    for k in range(absent, 3):
        _row(field[k - absent], k, x, y, first, count, central, work)


@kernel(fastmath=_FMA)
def _workspace(like: Array) -> Array:
    work = np.zeros(18 * _BLOCK, like.dtype)
    for i in range(_BLOCK):
        work[i] = 1
    return work


@kernel(fastmath=_FMA)
def determinant(start: int, stop: int, field: Array, central: bool, out: Array) -> None:
    """Determinants of planes start … stop, counted over the batch.

    Args:
        start: first plane.
        stop: plane after the last.
        field: displacement (B, 2 or 3, X, Y, Z), voxels; X = 1 for two components.
        central: central differences inside, otherwise forward; one-sided at the border either way.
        out: (B, X, Y, Z), written.
    """
    work = _workspace(out)
    for plane in range(start, stop):
        b, x = plane // out.shape[1], plane % out.shape[1]
        for y in range(out.shape[2]):
            for first in range(0, out.shape[3], _BLOCK):
                count = min(_BLOCK, out.shape[3] - first)
                _matrix(field[b], x, y, first, count, central, work)
                row = out[b, x, y, first:]
                for i in range(np.uint64(count)):
                    a, b_, c = work[i], work[i + _J], work[i + _J2]
                    d, e, f = work[i + _J3], work[i + _J4], work[i + _J5]
                    g, h, j = work[i + _J6], work[i + _J7], work[i + _J8]
                    row[i] = a * (e * j - f * h) - b_ * (d * j - f * g) + c * (d * h - e * g)


@kernel(fastmath=_FMA)
def _cofactors(work: Array, upstream: Array, count: int) -> None:
    """Gradient in the entries, upstream times cofactor."""
    for i in range(np.uint64(count)):
        a, b, c = work[i], work[i + _J], work[i + _J2]
        d, e, f = work[i + _J3], work[i + _J4], work[i + _J5]
        g, h, j = work[i + _J6], work[i + _J7], work[i + _J8]
        u, into = upstream[i], i + _SHARES
        work[into] = u * (e * j - f * h)
        work[into + _J] = u * (f * g - d * j)
        work[into + _J2] = u * (d * h - e * g)
        work[into + _J3] = u * (c * h - b * j)
        work[into + _J4] = u * (a * j - c * g)
        work[into + _J5] = u * (b * g - a * h)
        work[into + _J6] = u * (b * f - c * e)
        work[into + _J7] = u * (c * d - a * f)
        work[into + _J8] = u * (a * e - b * d)


@kernel(fastmath=_FMA)
def _add(work: Array, source: Any, factor: Any, count: int, row: Array) -> None:
    for i in range(np.uint64(count)):
        row[i] += factor * work[source + i]


@kernel(fastmath=_FMA)
def _spread(
    work: Array,
    k: int,
    x: int,
    y: int,
    first: int,
    count: int,
    central: bool,
    low: int,
    high: int,
    out: Array,
) -> None:
    """Adjoint of `_row`, from the gradients in row k into the planes low … high of out (X, Y, Z)."""
    kind, last = work.dtype.type, out.shape[2] - 1
    source = _SHARES + np.uint64(3 * k) * _J
    below, above, weight = _neighbours(x, out.shape[0], central)
    if low <= above < high:
        _add(work, source, kind(weight), count, out[above, y, first:])
    if low <= below < high:
        _add(work, source, -kind(weight), count, out[below, y, first:])
    if x < low or x >= high:
        return
    below, above, weight = _neighbours(y, out.shape[1], central)
    _add(work, source + _J, kind(weight), count, out[x, above, first:])
    _add(work, source + _J, -kind(weight), count, out[x, below, first:])
    line, source, back = out[x, y], source + _J2, 1 if central else 0
    factor = kind(0.5 if central else 1.0)
    begin, end = max(first, 1), min(first + count, last)
    inner, number = source + np.uint64(begin - first), max(end - begin, 0)
    _add(work, inner, factor, number, line[begin + 1 :])
    _add(work, inner, -factor, number, line[begin - back :])
    if first == 0:
        line[min(1, last)] += work[source]
        line[0] -= work[source]
    if first + count > last > 0:
        line[last] += work[source + np.uint64(last - first)]
        line[last - 1] -= work[source + np.uint64(last - first)]


@kernel(fastmath=_FMA)
def adjoint(
    start: int, stop: int, slabs: int, upstream: Array, field: Array, central: bool, out: Array
) -> None:
    """Gradient in the displacement, Σ D_aᵀ(g · cofactor_ka), of slabs start … stop, counted over the batch.

    A slab is a range of planes of the first axis. It also takes the planes next to it, and adds to its own
    alone, in the same order whatever the number of slabs.

    Args:
        start: first slab.
        stop: slab after the last.
        slabs: slabs a sample.
        upstream: g (B, X, Y, Z).
        field: that of `determinant`.
        central: likewise.
        out: (B, 2 or 3, X, Y, Z), added to.
    """
    size, absent = upstream.shape[1], 3 - field.shape[1]
    work = _workspace(out)
    for item in range(start, stop):
        b, slab = item // slabs, item % slabs
        low, high = size * slab // slabs, size * (slab + 1) // slabs
        for x in range(max(low - 1, 0), min(high + 1, size)):
            for y in range(upstream.shape[2]):
                for first in range(0, upstream.shape[3], _BLOCK):
                    count = min(_BLOCK, upstream.shape[3] - first)
                    _matrix(field[b], x, y, first, count, central, work)
                    _cofactors(work, upstream[b, x, y, first:], count)
                    for k in range(absent, 3):
                        _spread(work, k, x, y, first, count, central, low, high, out[b, k - absent])
