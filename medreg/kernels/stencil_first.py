"""Penalties on forward differences: diffusion, linear elastic potential, folding.

Numbers that meet an array have its precision, see `medreg.kernels.stencil_second`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medreg.kernels.compile import kernel

Array = NDArray[Any]
_SUMS = frozenset({"contract", "reassoc", "nsz"})


@kernel
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

    With a gradient, lines 0, 1, 2 of s are q here, at x − e_x and at x − e_y. Beyond a border the row itself
    stands for its neighbour, and the difference vanishes.
    """
    size, rows = u.shape[1], u.shape[2]
    total = 0.0
    for x in range(first, last):
        x_low, x_high = max(x - 1, 0), min(x + 1, size - 1)
        for y in range(rows):
            y_low, y_high = max(y - 1, 0), min(y + 1, rows - 1)
            if g.size == 0:
                total += _diffuse(u, q, line_x, line_y, line_z, x, y, x_high, y_high, c)
                continue
            _weigh(s[0], q, line_x, line_y, line_z, x, y)
            _weigh(s[1], q, line_x, line_y, line_z, x_low, y)
            _weigh(s[2], q, line_x, line_y, line_z, x, y_low)
            for k in range(u.shape[0]):
                total += _diffuse_back(g, s, u, k, x, y, x_low, x_high, y_low, y_high, c[k, 0], c[k, 1])
                total += _diffuse_along(g, s, u, k, x, y, c[k, 2])
    return total


@kernel
def _diffuse(
    u: Array, q: Array, line_x: Array, line_y: Array, line_z: Array, x: int, y: int, x_high: int, y_high: int, c: Array
) -> float:  # fmt: skip
    """Sum of q Σ_k,a c D² over the rows (x, y) of all components, without a copy of q."""
    weights = q[x, y] if q.size else line_z
    total = 0.0
    for k in range(u.shape[0]):
        if u.shape[2] > 1:
            total += _row(u[k, x, y], u[k, x_high, y], u[k, x, y_high], weights, c[k])
        else:
            total += _row_of_plane(u[k, x, y], u[k, x_high, y], weights, c[k])
    return total if q.size else total * line_x[x] * line_y[y]


@kernel(fastmath=_SUMS)
def _row(here: Array, next_x: Array, next_y: Array, q: Array, c: Array) -> float:
    """Sum of q c D² over a row; unsigned indices keep the loop free of tests for negative ones."""
    c_x, c_y, c_z, one = c[0], c[1], c[2], np.uint64(1)
    end = np.uint64(here.size - 1)
    d_x, d_y = next_x[end] - here[end], next_y[end] - here[end]
    total = q[end] * (c_x * d_x * d_x + c_y * d_y * d_y)
    for z in range(end):
        value = here[z]
        d_x, d_y, d_z = next_x[z] - value, next_y[z] - value, here[z + one] - value
        total += q[z] * (c_x * d_x * d_x + c_y * d_y * d_y + c_z * d_z * d_z)
    return total


@kernel(fastmath=_SUMS)
def _row_of_plane(here: Array, next_x: Array, q: Array, c: Array) -> float:
    """The same for a field of two dimensions."""
    c_x, c_z, one = c[0], c[2], np.uint64(1)
    end = np.uint64(here.size - 1)
    d_x = next_x[end] - here[end]
    total = q[end] * c_x * d_x * d_x
    for z in range(end):
        d_x, d_z = next_x[z] - here[z], here[z + one] - here[z]
        total += q[z] * (c_x * d_x * d_x + c_z * d_z * d_z)
    return total


@kernel(fastmath=_SUMS)
def _diffuse_back(
    g: Array,
    s: Array,
    u: Array,
    k: int,
    x: int,
    y: int,
    x_low: int,
    x_high: int,
    y_low: int,
    y_high: int,
    c_x: float,
    c_y: float,
) -> float:
    """Sum across the rows; the derivative at a voxel is 2·(s c D of the step that ends there − that of the next)."""
    total = c_x - c_x
    for z in range(u.shape[3]):
        here = u[k, x, y, z]
        d_x, d_y = u[k, x_high, y, z] - here, u[k, x, y_high, z] - here
        t_x, t_y = s[0, z + 1] * c_x * d_x, s[0, z + 1] * c_y * d_y
        total += t_x * d_x + t_y * d_y
        from_x = s[1, z + 1] * c_x * (here - u[k, x_low, y, z])
        value = from_x - t_x + (s[2, z + 1] * c_y * (here - u[k, x, y_low, z]) - t_y)
        g[k, x, y, z] = value + value
    return total


@kernel(fastmath=_SUMS)
def _diffuse_along(g: Array, s: Array, u: Array, k: int, x: int, y: int, c_z: float) -> float:
    """The same along a row; added to the derivative."""
    total = c_z - c_z
    for z in range(u.shape[3] - 1):
        d = u[k, x, y, z + 1] - u[k, x, y, z]
        t = s[0, z + 1] * c_z * d
        total += t * d
        g[k, x, y, z] -= t + t
    for z in range(1, u.shape[3]):
        t = s[0, z] * c_z * (u[k, x, y, z] - u[k, x, y, z - 1])
        g[k, x, y, z] += t + t
    return total


@kernel
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
