"""Penalty on the shortfall of the Jacobian determinant by forward differences: folding."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from medreg.kernels.compile import kernel

Array = NDArray[Any]
_SUMS = frozenset({"contract", "reassoc", "nsz"})


@kernel(fastmath=_SUMS)
def folding(
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
    """Σ q max(0, ε − det(δ_ka + D_a u_k)), the last difference of an axis being the one before; c (1, 1): ε.

    Component k of a 2-D field runs along x or z. Line 1 + k·D + a holds J_ka, then −q times its cofactor.
    Rows without a voxel below ε, which are most, cost the determinant alone.
    """
    size, rows, columns = u.shape[1:]
    stride = 1 if u.shape[0] == 3 else 2
    total = 0.0
    for x in range(max(0, first - 1), min(size, last + 1)):
        for y in range(rows):
            _weigh(s[0], q, line_x, line_y, line_z, x, y)
            _jacobian(s, u, min(x, size - 2), min(y, max(rows - 2, 0)), x, y, stride)
            folded = _shortfall(s, columns, c[0, 0]) if stride == 1 else _shortfall_2d(s, columns, c[0, 0])
            total += _sum(s[10], columns) if first <= x < last else 0.0
            if g.size and folded:
                _scatter_jacobian(s, g, min(x, size - 2), min(y, max(rows - 2, 0)), x, y, stride, first, last)
    return total


@kernel
def _jacobian(s: Array, u: Array, x_base: int, y_base: int, x: int, y: int, stride: int) -> None:
    parts, columns = u.shape[0], u.shape[3]
    for k in range(parts):
        for a in range(parts):
            axis, line, v = a * stride, s[1 + k * parts + a], u[k]
            unit = 1.0 if a == k else 0.0
            if axis == 0:
                _difference(line, v[x_base, y], v[x_base + 1, y], columns, unit)
            elif axis == 1:
                _difference(line, v[x, y_base], v[x, y_base + 1], columns, unit)
            else:
                _difference(line, v[x, y], v[x, y, 1:], columns - 1, unit)
                line[columns] = line[columns - 1]


@kernel(fastmath=_SUMS)
def _difference(out: Array, here: Array, there: Array, size: int, unit: float) -> None:
    one = out.dtype.type(unit)
    for z in range(size):
        out[z + 1] = there[z] - here[z] + one


@kernel(fastmath=_SUMS)
def _shortfall(s: Array, size: int, eps: float) -> bool:
    """3-D: line 10 becomes q times the shortfall; if there is any, the lines become −q times cofactors."""
    q, density = s[0], s[10]
    worst = eps - eps - 1
    for z in range(1, size + 1):
        first = s[5, z] * s[9, z] - s[6, z] * s[8, z]
        second = s[6, z] * s[7, z] - s[4, z] * s[9, z]
        third = s[4, z] * s[8, z] - s[5, z] * s[7, z]
        density[z] = eps - (s[1, z] * first + s[2, z] * second + s[3, z] * third)
    for z in range(1, size + 1):
        worst = density[z] if density[z] > worst or density[z] != density[z] else worst
    folded = not worst < 0.0
    if folded:
        for z in range(1, size + 1):
            _cofactors(s, z, -q[z] if not density[z] < 0.0 else q[z] - q[z])
    for z in range(1, size + 1):
        density[z] = q[z] * (density[z] if not density[z] < 0.0 else density[z] - density[z])
    return folded


@kernel(fastmath=_SUMS)
def _cofactors(s: Array, z: int, factor: float) -> None:
    a, b, c, d, e = s[1, z], s[2, z], s[3, z], s[4, z], s[5, z]
    f, g, h, i = s[6, z], s[7, z], s[8, z], s[9, z]
    s[1, z], s[2, z], s[3, z] = factor * (e * i - f * h), factor * (f * g - d * i), factor * (d * h - e * g)
    s[4, z], s[5, z], s[6, z] = factor * (c * h - b * i), factor * (a * i - c * g), factor * (b * g - a * h)
    s[7, z], s[8, z], s[9, z] = factor * (b * f - c * e), factor * (c * d - a * f), factor * (a * e - b * d)


@kernel(fastmath=_SUMS)
def _shortfall_2d(s: Array, size: int, eps: float) -> bool:
    """As `_shortfall` for two components, lines 1 … 4."""
    folded = False
    for z in range(1, size + 1):
        a, b, c, d, q = s[1, z], s[2, z], s[3, z], s[4, z], s[0, z]
        value = eps - (a * d - b * c)
        deep = not value < 0.0
        folded = folded or deep
        s[10, z] = q * value if deep else q - q
        factor = -q if deep else q - q
        s[1, z], s[2, z], s[3, z], s[4, z] = factor * d, -factor * c, -factor * b, factor * a
    return folded


@kernel
def _scatter_jacobian(
    s: Array, g: Array, x_base: int, y_base: int, x: int, y: int, stride: int, first: int, last: int
) -> None:
    parts, columns = g.shape[0], g.shape[3]
    for k in range(parts):
        for a in range(parts):
            axis, line, out = a * stride, s[1 + k * parts + a], g[k]
            if axis == 0:
                if first <= x_base < last:
                    _subtract(out[x_base, y], line, columns)
                if first <= x_base + 1 < last:
                    _add(out[x_base + 1, y], line, columns)
            elif first <= x < last and axis == 1:
                _subtract(out[x, y_base], line, columns)
                _add(out[x, y_base + 1], line, columns)
            elif first <= x < last:
                line[columns - 1] += line[columns]  # both differences are that of the last two voxels
                _subtract(out[x, y], line, columns - 1)
                _add(out[x, y, 1:], line, columns - 1)


@kernel(fastmath=_SUMS)
def _add(out: Array, line: Array, size: int) -> None:
    for z in range(size):
        out[z] += line[z + 1]


@kernel(fastmath=_SUMS)
def _subtract(out: Array, line: Array, size: int) -> None:
    for z in range(size):
        out[z] -= line[z + 1]


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
