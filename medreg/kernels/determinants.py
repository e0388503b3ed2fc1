"""Jacobian determinants of a displacement field in one sweep, for fields that lie in memory as NIfTI stores them.

Components are given as (Z, Y, X), the first axis of the field fastest. Row a of a matrix is the change of the three
components of x + u(x) along axis a.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from medreg.kernels.compile import kernel

FASTMATH = frozenset({"reassoc", "contract", "nsz"})


@kernel(fastmath=FASTMATH)
def central_determinants(
    u: Any, v: Any, w: Any, half: Any, crop: int, start: int, stop: int, out: Any
) -> None:
    """Write det(I + ∂u) by central differences for planes start … stop, `crop` voxels away from the rim.

    Args:
        u: (Z, Y, X) first component.
        v: second component.
        w: third component.
        half: 0.5 in the type to which every derivative is rounded.
        crop: voxels left out at each side of the last two axes, at least 1.
        start: first plane, at least 1.
        stop: last plane, excluded.
        out: (stop − start, Y − 2 crop, X − 2 crop) float64.
    """
    size_y, size_x = u.shape[1], u.shape[2]
    for k in range(start, stop):
        for j in range(crop, size_y - crop):
            for i in range(crop, size_x - crop):
                ux = np.float64(half * u[k, j, i + 1] - half * u[k, j, i - 1])
                vx = np.float64(half * v[k, j, i + 1] - half * v[k, j, i - 1])
                wx = np.float64(half * w[k, j, i + 1] - half * w[k, j, i - 1])
                uy = np.float64(half * u[k, j + 1, i] - half * u[k, j - 1, i])
                vy = np.float64(half * v[k, j + 1, i] - half * v[k, j - 1, i])
                wy = np.float64(half * w[k, j + 1, i] - half * w[k, j - 1, i])
                uz = np.float64(half * u[k + 1, j, i] - half * u[k - 1, j, i])
                vz = np.float64(half * v[k + 1, j, i] - half * v[k - 1, j, i])
                wz = np.float64(half * w[k + 1, j, i] - half * w[k - 1, j, i])
                a, e, m = ux + 1.0, vy + 1.0, wz + 1.0
                out[k - start, j - crop, i - crop] = (
                    a * (e * m - vz * wy) - uy * (vx * m - vz * wx) + uz * (vx * wy - e * wx)
                )


@kernel(fastmath=FASTMATH)
def _inverted(a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any, h: Any, i: Any) -> Any:
    """−min(det, 0) of the matrix of rows abc, def, ghi."""
    return -min(a * (e * i - f * h) - d * (b * i - c * h) + g * (b * f - c * e), 0.0)


@kernel(fastmath=FASTMATH)
def inverted_volume(u: Any, v: Any, w: Any, mask: Any, masked: bool, start: int, stop: int) -> float:
    """Sum of −min(d, 0) over planes start … stop and ten finite-difference determinants d a voxel.

    Eight of them are of one-sided differences, two of steps along the diagonals of the faces of a cell (Liu,
    Chen, Wei, Carass and Prince, IJCV 2024).

    Args:
        u: (Z, Y, X) first component.
        v: second component.
        w: third component.
        mask: (Z, Y, X), non-zero where a voxel counts; anything three-dimensional if not `masked`.
        masked: whether the mask is used.
        start: first plane, at least 1.
        stop: last plane, excluded.

    Returns:
        The sum; a twelfth of it is a volume in voxels.
    """
    total = 0.0
    for k in range(start, stop):
        for j in range(1, u.shape[1] - 1):
            row = 0.0
            for i in range(1, u.shape[2] - 1):
                u0, v0, w0 = np.float64(u[k, j, i]), np.float64(v[k, j, i]), np.float64(w[k, j, i])
                # forward (f) and backward (b) rows along x, y and z
                fx0, fx1, fx2 = u[k, j, i + 1] - u0 + 1.0, v[k, j, i + 1] - v0, w[k, j, i + 1] - w0
                bx0, bx1, bx2 = u0 - u[k, j, i - 1] + 1.0, v0 - v[k, j, i - 1], w0 - w[k, j, i - 1]
                fy0, fy1, fy2 = u[k, j + 1, i] - u0, v[k, j + 1, i] - v0 + 1.0, w[k, j + 1, i] - w0
                by0, by1, by2 = u0 - u[k, j - 1, i], v0 - v[k, j - 1, i] + 1.0, w0 - w[k, j - 1, i]
                fz0, fz1, fz2 = u[k + 1, j, i] - u0, v[k + 1, j, i] - v0, w[k + 1, j, i] - w0 + 1.0
                bz0, bz1, bz2 = u0 - u[k - 1, j, i], v0 - v[k - 1, j, i], w0 - w[k - 1, j, i] + 1.0
                found = _inverted(fx0, fx1, fx2, fy0, fy1, fy2, fz0, fz1, fz2)
                found += _inverted(fx0, fx1, fx2, fy0, fy1, fy2, bz0, bz1, bz2)
                found += _inverted(fx0, fx1, fx2, by0, by1, by2, fz0, fz1, fz2)
                found += _inverted(fx0, fx1, fx2, by0, by1, by2, bz0, bz1, bz2)
                found += _inverted(bx0, bx1, bx2, fy0, fy1, fy2, fz0, fz1, fz2)
                found += _inverted(bx0, bx1, bx2, fy0, fy1, fy2, bz0, bz1, bz2)
                found += _inverted(bx0, bx1, bx2, by0, by1, by2, fz0, fz1, fz2)
                found += _inverted(bx0, bx1, bx2, by0, by1, by2, bz0, bz1, bz2)
                # steps (−1, −1, 0), (−1, 0, −1), (0, −1, −1)
                um, vm, wm = u0 + 1.0, v0 + 1.0, w0 + 1.0
                p0, p1, p2 = u[k, j - 1, i - 1] - um, v[k, j - 1, i - 1] - vm, w[k, j - 1, i - 1] - w0
                q0, q1, q2 = u[k - 1, j, i - 1] - um, v[k - 1, j, i - 1] - v0, w[k - 1, j, i - 1] - wm
                r0, r1, r2 = u[k - 1, j - 1, i] - u0, v[k - 1, j - 1, i] - vm, w[k - 1, j - 1, i] - wm
                found += _inverted(p0, p1, p2, q0, q1, q2, r0, r1, r2)
                # steps (1, 1, 0), (0, 1, 1), (1, 0, 1)
                um, vm, wm = u0 - 1.0, v0 - 1.0, w0 - 1.0
                p0, p1, p2 = u[k, j + 1, i + 1] - um, v[k, j + 1, i + 1] - vm, w[k, j + 1, i + 1] - w0
                q0, q1, q2 = u[k + 1, j + 1, i] - u0, v[k + 1, j + 1, i] - vm, w[k + 1, j + 1, i] - wm
                r0, r1, r2 = u[k + 1, j, i + 1] - um, v[k + 1, j, i + 1] - v0, w[k + 1, j, i + 1] - wm
                found += _inverted(p0, p1, p2, q0, q1, q2, r0, r1, r2)
                if not masked or mask[k, j, i] != 0:
                    row += found
            total += row
    return total
