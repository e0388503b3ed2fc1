"""Penalties on second differences at inner voxels: bending and curvature.

Numbers that meet an array have its precision, or one line of float32 would be computed in float64: factors
come in arrays, and twice a number is its sum with itself.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from medreg.kernels.compile import kernel

Array = NDArray[Any]
_SUMS = frozenset({"contract", "reassoc", "nsz"})


@kernel(fastmath=_SUMS)
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

    An axis of one voxel has no differences: its step is 0, so that they vanish.
    """
    size, rows, columns = u.shape[1:]
    step = 1 if rows > 1 else 0
    total = 0.0
    for x in range(max(1, first - 1), min(size - 1, last + 1)):
        for y in range(step, rows - step):
            _weigh(s[0], q, line_x, line_y, line_z, x, y)
            for k in range(u.shape[0]):
                v = u[k]
                low, high, left, right = v[x - 1, y], v[x + 1, y], v[x, y - step], v[x, y + step]
                _bend_pure(s, v[x, y], low, high, left, right, c[k])
                _bend_across(
                    s, v[x + 1, y + step], v[x + 1, y - step], v[x - 1, y + step], v[x - 1, y - step], c[k]
                )
                _bend_along(s, low, high, left, right, c[k])
                total += _sum(s[7], columns) if first <= x < last else 0.0
                if g.size:
                    _scatter_bending(s, g[k], x, y, step, first, last)
    return total


@kernel(fastmath=_SUMS)
def _bend_pure(s: Array, here: Array, low: Array, high: Array, left: Array, right: Array, c: Array) -> None:
    """Lines 1 … 3: t = 2 q c D of xx, yy, zz; line 7: q c D² of these."""
    q, xx, yy, zz, density = s[0], s[1], s[2], s[3], s[7]
    c_x, c_y, c_z = c[0], c[1], c[2]
    for z in range(1, here.size - 1):
        twice = here[z] + here[z]
        d_x, d_y, d_z = (
            low[z] - twice + high[z],
            left[z] - twice + right[z],
            here[z - 1] - twice + here[z + 1],
        )
        t_x, t_y, t_z = q[z + 1] * c_x * d_x, q[z + 1] * c_y * d_y, q[z + 1] * c_z * d_z
        density[z + 1] = t_x * d_x + t_y * d_y + t_z * d_z
        xx[z + 1], yy[z + 1], zz[z + 1] = t_x + t_x, t_y + t_y, t_z + t_z


@kernel(fastmath=_SUMS)
def _bend_across(
    s: Array, high_right: Array, high_left: Array, low_right: Array, low_left: Array, c: Array
) -> None:
    """Line 4: the same of xy; added to line 7."""
    q, xy, density, c_xy = s[0], s[4], s[7], c[3]
    for z in range(1, high_right.size - 1):
        d = high_right[z] - high_left[z] - low_right[z] + low_left[z]
        t = q[z + 1] * c_xy * d
        density[z + 1] += t * d
        xy[z + 1] = t + t


@kernel(fastmath=_SUMS)
def _bend_along(s: Array, low: Array, high: Array, left: Array, right: Array, c: Array) -> None:
    """Lines 5 and 6: the same of xz and yz; added to line 7."""
    q, xz, yz, density, c_xz, c_yz = s[0], s[5], s[6], s[7], c[4], c[5]
    for z in range(1, low.size - 1):
        d_xz = high[z + 1] - high[z - 1] - low[z + 1] + low[z - 1]
        d_yz = right[z + 1] - right[z - 1] - left[z + 1] + left[z - 1]
        t_xz, t_yz = q[z + 1] * c_xz * d_xz, q[z + 1] * c_yz * d_yz
        density[z + 1] += t_xz * d_xz + t_yz * d_yz
        xz[z + 1], yz[z + 1] = t_xz + t_xz, t_yz + t_yz


@kernel
def _scatter_bending(s: Array, g: Array, x: int, y: int, step: int, first: int, last: int) -> None:
    """Add the transposed stencils to the rows of the slab; the lines are 0 beyond the inner voxels."""
    if first <= x < last:
        _add_middle(g[x, y], s[1], s[2], s[3])
        if step:
            _add_higher(g[x, y + 1], s[2], s[6])
            _add_lower(g[x, y - 1], s[2], s[6])
    if first <= x + 1 < last:
        _add_higher(g[x + 1, y], s[1], s[5])
        if step:
            _add_corners(g[x + 1, y + 1], g[x + 1, y - 1], s[4])
    if first <= x - 1 < last:
        _add_lower(g[x - 1, y], s[1], s[5])
        if step:
            _add_corners(g[x - 1, y - 1], g[x - 1, y + 1], s[4])


@kernel(fastmath=_SUMS)
def _add_middle(out: Array, xx: Array, yy: Array, zz: Array) -> None:
    for z in range(out.size):
        centre = xx[z + 1] + yy[z + 1] + zz[z + 1]
        out[z] += zz[z] + zz[z + 2] - (centre + centre)


@kernel(fastmath=_SUMS)
def _add_higher(out: Array, pure: Array, mixed: Array) -> None:
    for z in range(out.size):
        out[z] += pure[z + 1] + (mixed[z] - mixed[z + 2])


@kernel(fastmath=_SUMS)
def _add_lower(out: Array, pure: Array, mixed: Array) -> None:
    for z in range(out.size):
        out[z] += pure[z + 1] - (mixed[z] - mixed[z + 2])


@kernel(fastmath=_SUMS)
def _add_corners(same: Array, opposite: Array, mixed: Array) -> None:
    for z in range(same.size):
        same[z] += mixed[z + 1]
        opposite[z] -= mixed[z + 1]


@kernel(fastmath=_SUMS)
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
    """Σ q Σ_k (Σ_a c_k,a D_aa)²; c (D, 3), 0 for an axis of one voxel."""
    size, rows, columns = u.shape[1:]
    step = 1 if rows > 1 else 0
    total = 0.0
    for x in range(max(1, first - 1), min(size - 1, last + 1)):
        for y in range(step, rows - step):
            _weigh(s[0], q, line_x, line_y, line_z, x, y)
            for k in range(u.shape[0]):
                v = u[k]
                _laplacian(s, v[x, y], v[x - 1, y], v[x + 1, y], v[x, y - step], v[x, y + step], c[k])
                total += _sum(s[7], columns) if first <= x < last else 0.0
                if g.size:
                    _scatter_laplacian(s[1], g[k], c[k], x, y, step, first, last)
    return total


@kernel(fastmath=_SUMS)
def _laplacian(s: Array, here: Array, low: Array, high: Array, left: Array, right: Array, c: Array) -> None:
    """Line 1: 2 q L, line 7: q L², with L = Σ_a c_a D_aa."""
    q, out, density, c_x, c_y, c_z = s[0], s[1], s[7], c[0], c[1], c[2]
    for z in range(1, here.size - 1):
        twice = here[z] + here[z]
        value = c_x * (low[z] - twice + high[z]) + c_y * (left[z] - twice + right[z])
        value += c_z * (here[z - 1] - twice + here[z + 1])
        weighted = q[z + 1] * value
        density[z + 1] = weighted * value
        out[z + 1] = weighted + weighted


@kernel
def _scatter_laplacian(
    t: Array, g: Array, c: Array, x: int, y: int, step: int, first: int, last: int
) -> None:
    if first <= x < last:
        _add_centre(g[x, y], t, c)
        if step:
            _add_scaled(g[x, y + 1], t, c[1])
            _add_scaled(g[x, y - 1], t, c[1])
    if first <= x - 1 < last:
        _add_scaled(g[x - 1, y], t, c[0])
    if first <= x + 1 < last:
        _add_scaled(g[x + 1, y], t, c[0])


@kernel(fastmath=_SUMS)
def _add_centre(out: Array, t: Array, c: Array) -> None:
    along, twice = c[2], c[0] + c[1] + c[2] + (c[0] + c[1] + c[2])
    for z in range(out.size):
        out[z] += along * (t[z] + t[z + 2]) - twice * t[z + 1]


@kernel(fastmath=_SUMS)
def _add_scaled(out: Array, t: Array, factor: float) -> None:
    for z in range(out.size):
        out[z] += factor * t[z + 1]


@kernel(fastmath=_SUMS)
def _weigh(out: Array, q: Array, line_x: Array, line_y: Array, line_z: Array, x: int, y: int) -> None:
    """Put q of one row into out[1 : Z + 1]."""
    if q.size:
        row = q[x, y]
        for z in range(row.size):
            out[z + 1] = row[z]
    else:
        factor = line_x[x] * line_y[y]
        for z in range(line_z.size):
            out[z + 1] = factor * line_z[z]


@kernel(fastmath=_SUMS)
def _sum(line: Array, size: int) -> float:
    total = 0.0
    for z in range(size):
        total += line[z + 1]
    return total
