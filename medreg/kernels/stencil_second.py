"""Penalties on second differences at inner voxels: bending and curvature.

Numbers that meet a line have its precision, or a line of float32 would be computed in float64: factors come
in arrays, and twice a number is its sum with itself. A loop writes one line and reads few, so that the
compiler can check that they do not overlap and use vector registers; arrays are handed on whole, with indices,
because a slice costs as much as a dozen voxels.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from medreg.kernels.compile import kernel

Array = NDArray[Any]
_SUMS = frozenset({"contract", "reassoc", "nsz"})


@kernel
def bending(
    first: int,
    last: int,
    u: Array,
    q: Array,
    line_x: Array,
    line_y: Array,
    line_z: Array,
    c: Array,
    g: Array,
    s: Array,
) -> float:
    """Σ q Σ_k c_k,ab D_ab² with the differences D_ab of u_k, not divided; c (D, 6): xx, yy, zz, xy, xz, yz.

    Lines 1 … 6 of s hold 2 q c D_ab and stay 0 beyond the inner voxels; line 0 is q. Along an axis of one
    voxel (the second of a 2-D field) there are no differences.
    """
    size, rows = u.shape[1], u.shape[2]
    step = 1 if rows > 1 else 0
    total = 0.0
    for x in range(max(1, first - 1), min(size - 1, last + 1)):
        for y in range(step, rows - step):
            _weigh(s, q, line_x, line_y, line_z, x, y)
            for k in range(u.shape[0]):
                value = _pure(s, 1, u, k, x, y, 1, 0, c[k, 0]) + _pure_along(s, 3, u, k, x, y, c[k, 2])
                value += _mixed_along(s, 5, u, k, x, y, 1, 0, c[k, 4])
                if step:
                    value += _pure(s, 2, u, k, x, y, 0, 1, c[k, 1]) + _mixed(s, 4, u, k, x, y, c[k, 3])
                    value += _mixed_along(s, 6, u, k, x, y, 0, 1, c[k, 5])
                total += value if first <= x < last else 0.0
                if g.size:
                    _scatter_bending(s, g, k, x, y, step, first, last)
    return total


@kernel(fastmath=_SUMS)
def _pure(s: Array, line: int, u: Array, k: int, x: int, y: int, i: int, j: int, factor: float) -> float:
    """Line of 2 q c D for D = u(−) − 2u + u(+) along (i, j, 0); returns the sum of q c D²."""
    total = factor - factor
    for z in range(1, u.shape[3] - 1):
        d = u[k, x - i, y - j, z] - (u[k, x, y, z] + u[k, x, y, z]) + u[k, x + i, y + j, z]
        t = s[0, z + 1] * factor * d
        total += t * d
        s[line, z + 1] = t + t
    return total


@kernel(fastmath=_SUMS)
def _pure_along(s: Array, line: int, u: Array, k: int, x: int, y: int, factor: float) -> float:
    """The same along the row."""
    total = factor - factor
    for z in range(1, u.shape[3] - 1):
        d = u[k, x, y, z - 1] - (u[k, x, y, z] + u[k, x, y, z]) + u[k, x, y, z + 1]
        t = s[0, z + 1] * factor * d
        total += t * d
        s[line, z + 1] = t + t
    return total


@kernel(fastmath=_SUMS)
def _mixed(s: Array, line: int, u: Array, k: int, x: int, y: int, factor: float) -> float:
    """The same for D = u(+,+) − u(+,−) − u(−,+) + u(−,−) across the rows."""
    total = factor - factor
    for z in range(1, u.shape[3] - 1):
        d = u[k, x + 1, y + 1, z] - u[k, x + 1, y - 1, z] - u[k, x - 1, y + 1, z] + u[k, x - 1, y - 1, z]
        t = s[0, z + 1] * factor * d
        total += t * d
        s[line, z + 1] = t + t
    return total


@kernel(fastmath=_SUMS)
def _mixed_along(
    s: Array, line: int, u: Array, k: int, x: int, y: int, i: int, j: int, factor: float
) -> float:
    """The same for (i, j, 0) and the direction of the row."""
    total = factor - factor
    for z in range(1, u.shape[3] - 1):
        d = u[k, x + i, y + j, z + 1] - u[k, x + i, y + j, z - 1]
        d -= u[k, x - i, y - j, z + 1] - u[k, x - i, y - j, z - 1]
        t = s[0, z + 1] * factor * d
        total += t * d
        s[line, z + 1] = t + t
    return total


@kernel
def _scatter_bending(s: Array, g: Array, k: int, x: int, y: int, step: int, first: int, last: int) -> None:
    """Add the transposed stencils to the rows of the slab."""
    if first <= x < last:
        _add_middle(s, g, k, x, y)
        if step:
            _add_higher(s, 2, 6, g, k, x, y + 1)
            _add_lower(s, 2, 6, g, k, x, y - 1)
    if first <= x + 1 < last:
        _add_higher(s, 1, 5, g, k, x + 1, y)
        if step:
            _add_corner(s, 4, g, k, x + 1, y + 1)
            _subtract_corner(s, 4, g, k, x + 1, y - 1)
    if first <= x - 1 < last:
        _add_lower(s, 1, 5, g, k, x - 1, y)
        if step:
            _add_corner(s, 4, g, k, x - 1, y - 1)
            _subtract_corner(s, 4, g, k, x - 1, y + 1)


@kernel(fastmath=_SUMS)
def _add_middle(s: Array, g: Array, k: int, x: int, y: int) -> None:
    for z in range(g.shape[3]):
        centre = s[1, z + 1] + s[2, z + 1] + s[3, z + 1]
        g[k, x, y, z] += s[3, z] + s[3, z + 2] - (centre + centre)


@kernel(fastmath=_SUMS)
def _add_higher(s: Array, pure: int, mixed: int, g: Array, k: int, x: int, y: int) -> None:
    for z in range(g.shape[3]):
        g[k, x, y, z] += s[pure, z + 1] + (s[mixed, z] - s[mixed, z + 2])


@kernel(fastmath=_SUMS)
def _add_lower(s: Array, pure: int, mixed: int, g: Array, k: int, x: int, y: int) -> None:
    for z in range(g.shape[3]):
        g[k, x, y, z] += s[pure, z + 1] - (s[mixed, z] - s[mixed, z + 2])


@kernel(fastmath=_SUMS)
def _add_corner(s: Array, line: int, g: Array, k: int, x: int, y: int) -> None:
    for z in range(g.shape[3]):
        g[k, x, y, z] += s[line, z + 1]


@kernel(fastmath=_SUMS)
def _subtract_corner(s: Array, line: int, g: Array, k: int, x: int, y: int) -> None:
    for z in range(g.shape[3]):
        g[k, x, y, z] -= s[line, z + 1]


@kernel
def curvature(
    first: int,
    last: int,
    u: Array,
    q: Array,
    line_x: Array,
    line_y: Array,
    line_z: Array,
    c: Array,
    g: Array,
    s: Array,
) -> float:
    """Σ q Σ_k (Σ_a c_k,a D_aa)²; c (D, 3), 0 for an axis of one voxel. Line 1 of s is 2 q Σ_a c_k,a D_aa."""
    size, rows = u.shape[1], u.shape[2]
    step = 1 if rows > 1 else 0
    total = 0.0
    for x in range(max(1, first - 1), min(size - 1, last + 1)):
        for y in range(step, rows - step):
            _weigh(s, q, line_x, line_y, line_z, x, y)
            for k in range(u.shape[0]):
                value = _laplacian(s, u, k, x, y, step, c[k, 0], c[k, 1], c[k, 2])
                total += value if first <= x < last else 0.0
                if g.size:
                    _scatter_laplacian(s, g, k, x, y, step, first, last, c[k, 0], c[k, 1], c[k, 2])
    return total


@kernel(fastmath=_SUMS)
def _laplacian(
    s: Array, u: Array, k: int, x: int, y: int, step: int, c_x: float, c_y: float, c_z: float
) -> float:
    total = c_x - c_x
    for z in range(1, u.shape[3] - 1):
        twice = u[k, x, y, z] + u[k, x, y, z]
        value = c_x * (u[k, x - 1, y, z] - twice + u[k, x + 1, y, z])
        value += c_y * (u[k, x, y - step, z] - twice + u[k, x, y + step, z])
        value += c_z * (u[k, x, y, z - 1] - twice + u[k, x, y, z + 1])
        weighted = s[0, z + 1] * value
        total += weighted * value
        s[1, z + 1] = weighted + weighted
    return total


@kernel
def _scatter_laplacian(
    s: Array,
    g: Array,
    k: int,
    x: int,
    y: int,
    step: int,
    first: int,
    last: int,
    c_x: float,
    c_y: float,
    c_z: float,
) -> None:
    if first <= x < last:
        _add_centre(s, g, k, x, y, c_x + c_y + c_z, c_z)
        if step:
            _add_scaled(s, g, k, x, y + 1, c_y)
            _add_scaled(s, g, k, x, y - 1, c_y)
    if first <= x - 1 < last:
        _add_scaled(s, g, k, x - 1, y, c_x)
    if first <= x + 1 < last:
        _add_scaled(s, g, k, x + 1, y, c_x)


@kernel(fastmath=_SUMS)
def _add_centre(s: Array, g: Array, k: int, x: int, y: int, c_sum: float, c_z: float) -> None:
    for z in range(g.shape[3]):
        g[k, x, y, z] += c_z * (s[1, z] + s[1, z + 2]) - c_sum * (s[1, z + 1] + s[1, z + 1])


@kernel(fastmath=_SUMS)
def _add_scaled(s: Array, g: Array, k: int, x: int, y: int, factor: float) -> None:
    for z in range(g.shape[3]):
        g[k, x, y, z] += factor * s[1, z + 1]


@kernel(fastmath=_SUMS)
def _weigh(s: Array, q: Array, line_x: Array, line_y: Array, line_z: Array, x: int, y: int) -> None:
    """Put q of one row into line 0, voxel z at z + 1."""
    if q.size:
        for z in range(q.shape[2]):
            s[0, z + 1] = q[x, y, z]
    else:
        factor = line_x[x] * line_y[y]
        for z in range(line_z.size):
            s[0, z + 1] = factor * line_z[z]
