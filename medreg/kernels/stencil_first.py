"""Penalties on forward differences: diffusion, linear elastic potential, folding.

Numbers that meet an array have its precision, see `medreg.kernels.stencil_second`.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from medreg.kernels.compile import kernel

Array = NDArray[Any]
_SUMS = frozenset({"contract", "reassoc", "nsz"})


@kernel(fastmath=_SUMS)
def diffusion(
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
    """Σ q Σ_k,a c_k,a D_a², D_a = u_k(x + e_a) − u_k(x), 0 at the last voxel of an axis; c (D, 3).

    Beyond a border the row itself stands for its neighbour, and the difference vanishes.
    """
    size, rows, columns = u.shape[1:]
    total = 0.0
    for x in range(first, last):
        for y in range(rows):
            _weigh(s[0], q, line_x, line_y, line_z, x, y)
            _weigh(s[1], q, line_x, line_y, line_z, max(x - 1, 0), y)
            _weigh(s[2], q, line_x, line_y, line_z, x, max(y - 1, 0))
            for k in range(u.shape[0]):
                v = u[k]
                here, high, right = v[x, y], v[min(x + 1, size - 1), y], v[x, min(y + 1, rows - 1)]
                _diffuse(s, here, high, right, c[k])
                total += _sum(s[7], columns)
                if g.size:
                    _diffuse_back(
                        g[k, x, y], s, here, high, right, v[max(x - 1, 0), y], v[x, max(y - 1, 0)], c[k]
                    )
    return total


@kernel(fastmath=_SUMS)
def _diffuse(s: Array, here: Array, high: Array, right: Array, c: Array) -> None:
    """Line 7: density times q; line 3: q c_z D_z of the voxel before."""
    q, along, density, c_x, c_y, c_z = s[0], s[3], s[7], c[0], c[1], c[2]
    end = here.size - 1
    for z in range(end + 1):
        d_x, d_y = high[z] - here[z], right[z] - here[z]
        density[z + 1] = q[z + 1] * (c_x * d_x * d_x + c_y * d_y * d_y)
    for z in range(end):
        d = here[z + 1] - here[z]
        along[z + 1] = q[z + 1] * c_z * d
        density[z + 1] += along[z + 1] * d
    along[end + 1] = along[0]


@kernel(fastmath=_SUMS)
def _diffuse_back(
    out: Array, s: Array, here: Array, high: Array, right: Array, low: Array, left: Array, c: Array
) -> None:
    q, q_low, q_left, along, c_x, c_y = s[0], s[1], s[2], s[3], c[0], c[1]
    for z in range(out.size):
        value = c_x * (q_low[z + 1] * (here[z] - low[z]) - q[z + 1] * (high[z] - here[z]))
        value += c_y * (q_left[z + 1] * (here[z] - left[z]) - q[z + 1] * (right[z] - here[z]))
        value += along[z] - along[z + 1]
        out[z] = value + value


@kernel(fastmath=_SUMS)
def elastic(
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
    """Σ q (μ/4 Σ_k,a (d_ka + d_ak)² + λ/2 (Σ_k d_kk)²) on cells, d_ka = c_k,a (u_k(x + e_a) − u_k(x)).

    c (D + 1, 3): the factors of each component along x, y, z, then μ/2, λ/2 and 0. Component k of a 2-D field
    runs along x or z. Line 1 + k·D + a holds d_ka, then q times the derivative by it.
    """
    size, rows, columns = u.shape[1:]
    parts = u.shape[0]
    step, stride = (1 if rows > 1 else 0), (1 if parts == 3 else 2)
    total = 0.0
    for x in range(max(0, first - 1), min(size - 1, last)):
        for y in range(rows - step):
            _weigh(s[0], q, line_x, line_y, line_z, x, y)
            _differences(s, u, c, x, y, columns - 1, stride)
            _stress(s, parts, columns - 1, c[parts])
            total += _sum(s[10], columns - 1) if first <= x < last else 0.0
            if g.size:
                _scatter(s, g, c, x, y, columns - 1, stride, first, last)
    return total


@kernel
def _differences(s: Array, u: Array, c: Array, x: int, y: int, size: int, stride: int) -> None:
    parts = u.shape[0]
    for k in range(parts):
        for a in range(parts):
            axis = a * stride
            there = u[k, x + (1 if axis == 0 else 0), y + (1 if axis == 1 else 0), axis // 2 :]
            _difference(s[1 + k * parts + a], u[k, x, y], there, size, c[k, axis])


@kernel(fastmath=_SUMS)
def _difference(out: Array, here: Array, there: Array, size: int, factor: float) -> None:
    for z in range(size):
        out[z + 1] = factor * (there[z] - here[z])


@kernel(fastmath=_SUMS)
def _stress(s: Array, parts: int, size: int, moduli: Array) -> None:
    """d_ka become q·(μ (d_ka + d_ak) + λ δ_ka div u); line 10: q times the density."""
    q, density, divergence, half_mu, half_lam = s[0], s[10], s[11], moduli[0], moduli[1]
    for z in range(1, size + 1):
        divergence[z] = s[1, z] + s[2 + parts, z]
    if parts == 3:
        for z in range(1, size + 1):
            divergence[z] += s[9, z]
    for z in range(1, size + 1):
        density[z] = q[z] * half_lam * divergence[z] * divergence[z]
        divergence[z] *= q[z] * (half_lam + half_lam)
    for k in range(parts):
        _stretch(s[1 + k * parts + k], q, density, divergence, size, half_mu + half_mu)
        for a in range(k + 1, parts):
            _shear(s[1 + k * parts + a], s[1 + a * parts + k], q, density, size, half_mu)


@kernel(fastmath=_SUMS)
def _stretch(line: Array, q: Array, density: Array, pressure: Array, size: int, mu: float) -> None:
    for z in range(1, size + 1):
        stress = q[z] * mu * line[z]
        density[z] += stress * line[z]
        line[z] = stress + stress + pressure[z]


@kernel(fastmath=_SUMS)
def _shear(line: Array, transposed: Array, q: Array, density: Array, size: int, half_mu: float) -> None:
    for z in range(1, size + 1):
        strain = line[z] + transposed[z]
        stress = q[z] * half_mu * strain
        density[z] += stress * strain
        line[z] = stress + stress
        transposed[z] = stress + stress


@kernel
def _scatter(
    s: Array, g: Array, c: Array, x: int, y: int, size: int, stride: int, first: int, last: int
) -> None:
    """Transposed differences of all components, the lines being the derivatives by c·(there − here)."""
    parts = g.shape[0]
    for k in range(parts):
        for a in range(parts):
            line, axis = s[1 + k * parts + a], a * stride
            if first <= x < last:
                _add_scaled(g[k, x, y], line, -c[k, axis], size)
                if axis > 0:
                    _add_scaled(g[k, x, y + (2 - axis), axis - 1 :], line, c[k, axis], size)
            if axis == 0 and first <= x + 1 < last:
                _add_scaled(g[k, x + 1, y], line, c[k, axis], size)


@kernel(fastmath=_SUMS)
def _add_scaled(out: Array, line: Array, factor: float, size: int) -> None:
    for z in range(size):
        out[z] += factor * line[z + 1]


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
