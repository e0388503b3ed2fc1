"""Multilinear warping in compiled loops, with the first and second derivatives.

Everything is flat and in blocks: a block of `_BLOCK` output voxels first gets, axis by axis, its cells and
weights (short loops without branches, which the compiler turns into vector instructions), then its values.
Space is always three axes; for images of two dimensions the first has one voxel and no displacement, and the
sums over its two planes have one term.

    value(x) = Σ_c Π_a w_a,c(p_a(x)) I(cell(x) + c),   p_a(x) = base_a(x_a) + gain_a u_a(x),   c ∈ {0, 1}³

with hat functions w, w' ∈ {−1, 0, 1} taken from the right. `geometry/warp.py` has the same in torch.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from medreg.kernels.compile import kernel

_BLOCK = 512
# Fused multiply-add; NaN and infinity stay what they are
_FMA = frozenset({"contract"})
# What is known of a block, in rows of one array, so that the compiler sees that the rows do not overlap: the
# weights below and above along the three axes, the slopes, and the values at the eight corners
_ROWS = 20
_X0, _X1, _Y0, _Y1, _Z0, _Z1, _SX0, _SX1, _SY0, _SY1, _SZ0, _SZ1, *_CORNERS = (
    np.uint64(_BLOCK * row) for row in range(_ROWS)
)
_A, _B, _C, _D, _E, _F, _G, _H = _CORNERS


def blocks(voxels: int) -> int:
    """Number of blocks of a grid."""
    return -(-voxels // _BLOCK)


@kernel(fastmath=_FMA)
def _workspace(like: Any) -> Any:
    """Rows of a block, in which a first axis that does not exist has weights 1, 0 and no slope."""
    work = np.zeros(_ROWS * _BLOCK, like.dtype)
    for i in range(_BLOCK):
        work[i] = 1
    return work


@kernel(fastmath=_FMA)
def _positions(first: Any, count: Any, moves: Any, bases: Any, gains: Any, shape: Any, position: Any) -> None:
    """Sampling positions (3, count) of the voxels first … first + count of a grid, in voxels of the image."""
    absent = 3 - moves.shape[0]
    done = 0
    while done < count:
        # a run of voxels of one line: only the index of the last axis changes
        voxel = first + done
        z, line = voxel % shape[2], voxel // shape[2]
        run = min(shape[2] - z, count - done)
        # unsigned indices spare a test for negative ones, which would keep the loops from vector registers
        into, source, z0 = np.uint64(done), np.uint64(voxel), np.uint64(z)
        index = (line // shape[1], line % shape[1])
        for axis in range(absent, 2):
            start, gain = bases[axis, index[axis]], gains[axis]
            for i in range(np.uint64(run)):
                position[axis, into + i] = start + gain * moves[axis - absent, source + i]
        gain = gains[2]
        for i in range(np.uint64(run)):
            position[2, into + i] = bases[2, z0 + i] + gain * moves[2 - absent, source + i]
        done += run


@kernel(fastmath=_FMA)
def _cells(position: Any, absent: Any, sizes: Any, border: Any, count: Any, cell: Any, work: Any) -> None:
    """Flat index of the lower corner, inside the image whatever the position, and two weights an axis.

    A position that is not a number keeps an index inside and gives weights that are not numbers.
    """
    kind = work.dtype.type
    zero, one, two = kind(0), kind(1), kind(2)
    for i in range(count):
        cell[i] = 0
    for axis in range(absent, 3):
        size = sizes[axis]
        row, below, above = position[axis], work[2 * axis * _BLOCK :], work[(2 * axis + 1) * _BLOCK :]
        last, top = kind(size - 1), kind(max(size - 2, 0))
        low, high = (zero, last) if border else (kind(-np.inf), kind(np.inf))
        for i in range(count):
            p = row[i]
            p = low if p < low else p
            p = high if p > high else p
            inside = p if p > zero else zero
            inside = inside if inside < top else top
            index = np.int32(inside)
            f = p - kind(index)
            upper = f if f < two - f else two - f
            lower = one - f if one - f < one + f else one + f
            above[i] = zero if upper < zero else upper
            below[i] = zero if lower < zero else lower
            cell[i] = cell[i] * np.int32(size) + index
        if size == 1:
            for i in range(count):
                above[i] = zero


@kernel(fastmath=_FMA)
def _slopes(position: Any, absent: Any, sizes: Any, border: Any, count: Any, work: Any) -> None:
    """Derivatives of the weights from the right; with border padding zero at the border and beyond."""
    kind = work.dtype.type
    zero, one, two = kind(0), kind(1), kind(2)
    for axis in range(absent, 3):
        row, below, above = position[axis], work[(6 + 2 * axis) * _BLOCK :], work[(7 + 2 * axis) * _BLOCK :]
        last, top = kind(sizes[axis] - 1), kind(max(sizes[axis] - 2, 0))
        for i in range(count):
            p = row[i]
            if border:
                rising = one if (p > zero) & (p < last) else zero
                above[i] = rising
                below[i] = -rising
            else:
                inside = p if p > zero else zero
                inside = inside if inside < top else top
                f = p - kind(np.int32(inside))
                up, down = (f >= zero) & (f < one), (f >= -one) & (f < zero)
                below[i] = -one if up else (one if down else zero)
                above[i] = one if up else (-one if (f >= one) & (f < two) else zero)
        if sizes[axis] == 1:
            for i in range(count):
                above[i] = zero


@kernel(fastmath=_FMA)
def _bilinear(source: Any, k: Any, dy: Any, dz: Any, work: Any, i: Any) -> Any:
    """Interpolation in the plane of the two last axes from corner k with weights of voxel i of the block."""
    near = work[_Z0 + i] * source[k] + work[_Z1 + i] * source[k + dz]
    far = work[_Z0 + i] * source[k + dy] + work[_Z1 + i] * source[k + dy + dz]
    return work[_Y0 + i] * near + work[_Y1 + i] * far


@kernel(fastmath=_FMA)
def forward(
    start: Any, stop: Any, image: Any, sizes: Any, moves: Any, shape: Any, bases: Any, gains: Any,
    border: Any, residual: Any, out: Any,
) -> None:  # fmt: skip
    """Values of blocks start … stop, counted over the batch; `residual` adds the image at the voxel itself.

    Args:
        start: first block.
        stop: block after the last.
        image: (B or 1, C, V), V = product of `sizes`.
        sizes: three voxel counts of the image.
        moves: (B or 1, D, N), voxels.
        shape: three voxel counts of the grid, N in all.
        bases: (3, longest axis), position of every index without displacement.
        gains: (3,), factors of the displacement.
        border: border value outside, otherwise zero.
        residual: whether to add image(x), for grids of the image's size.
        out: (B, C, N), written.
    """
    voxels, absent = moves.shape[2], 3 - moves.shape[1]
    many = (voxels + _BLOCK - 1) // _BLOCK
    position = np.zeros((3, _BLOCK), out.dtype)
    work = _workspace(out)
    cell = np.empty(_BLOCK, np.int32)
    dx, dy = np.uint64(sizes[1] * sizes[2]), np.uint64(sizes[2] if sizes[1] > 1 else 0)
    dz = np.uint64(1 if sizes[2] > 1 else 0)
    for block in range(start, stop):
        b, first = block // many, block % many * _BLOCK
        n = min(_BLOCK, voxels - first)
        _positions(first, n, moves[b % moves.shape[0]], bases, gains, shape, position)
        _cells(position, absent, sizes, border, n, cell, work)
        for c in range(image.shape[1]):
            source, result = image[b % image.shape[0], c], out[b, c, first:]
            if sizes[0] > 1:
                for i in range(np.uint64(n)):
                    k = np.uint64(cell[i])
                    near = _bilinear(source, k, dy, dz, work, i)
                    far = _bilinear(source, k + dx, dy, dz, work, i)
                    result[i] = work[_X0 + i] * near + work[_X1 + i] * far
            else:
                for i in range(np.uint64(n)):
                    result[i] = work[_X0 + i] * _bilinear(source, np.uint64(cell[i]), dy, dz, work, i)
            if residual:
                for i in range(n):
                    result[i] += source[first + i]


@kernel(fastmath=_FMA)
def _corners(source: Any, sizes: Any, cell: Any, n: Any, work: Any) -> None:
    """Values at the corners of the cells; an image of one plane has none on the far side."""
    dx, dy = np.uint64(sizes[1] * sizes[2]), np.uint64(sizes[2] if sizes[1] > 1 else 0)
    dz = np.uint64(1 if sizes[2] > 1 else 0)
    for i in range(np.uint64(n)):
        k = np.uint64(cell[i])
        work[_A + i], work[_B + i] = source[k], source[k + dz]
        work[_C + i], work[_D + i] = source[k + dy], source[k + dy + dz]
        if sizes[0] > 1:
            k += dx
            work[_E + i], work[_F + i] = source[k], source[k + dz]
            work[_G + i], work[_H + i] = source[k + dy], source[k + dy + dz]


@kernel(fastmath=_FMA)
def _lines(work: Any, i: Any) -> Any:
    """Values and slopes along the last axis on the four lines of a cell."""
    z0, z1, s0, s1 = work[_Z0 + i], work[_Z1 + i], work[_SZ0 + i], work[_SZ1 + i]
    a, b, c, d = work[_A + i], work[_B + i], work[_C + i], work[_D + i]
    e, f, g, h = work[_E + i], work[_F + i], work[_G + i], work[_H + i]
    values = z0 * a + z1 * b, z0 * c + z1 * d, z0 * e + z1 * f, z0 * g + z1 * h
    return values, (s0 * a + s1 * b, s0 * c + s1 * d, s0 * e + s1 * f, s0 * g + s1 * h)


@kernel(fastmath=_FMA)
def _add_slopes(work: Any, g: Any, gains: Any, n: Any, in_x: Any, in_y: Any, in_z: Any) -> None:
    gain_x, gain_y, gain_z = gains
    for i in range(np.uint64(n)):
        (p, q, r, s), (p_z, q_z, r_z, s_z) = _lines(work, i)
        x0, x1, y0, y1 = work[_X0 + i], work[_X1 + i], work[_Y0 + i], work[_Y1 + i]
        t0, t1 = work[_SY0 + i], work[_SY1 + i]
        along_x = work[_SX0 + i] * (y0 * p + y1 * q) + work[_SX1 + i] * (y0 * r + y1 * s)
        along_y = x0 * (t0 * p + t1 * q) + x1 * (t0 * r + t1 * s)
        along_z = x0 * (y0 * p_z + y1 * q_z) + x1 * (y0 * r_z + y1 * s_z)
        in_x[i] += gain_x * g[i] * along_x
        in_y[i] += gain_y * g[i] * along_y
        in_z[i] += gain_z * g[i] * along_z


@kernel(fastmath=_FMA)
def field_gradient(
    start: Any, stop: Any, upstream: Any, image: Any, sizes: Any, moves: Any, shape: Any, bases: Any,
    gains: Any, border: Any, out: Any,
) -> None:  # fmt: skip
    """Gradient in the displacement, gain_a Σ_c g_c ∂value_c/∂p_a, of blocks start … stop.

    Args are those of `forward`, with the upstream gradient g (B, C, N) and out (B, D, N), added to.
    """
    voxels, absent = moves.shape[2], 3 - moves.shape[1]
    many = (voxels + _BLOCK - 1) // _BLOCK
    position, unused = np.zeros((3, _BLOCK), out.dtype), np.zeros(_BLOCK, out.dtype)
    work = _workspace(out)
    cell = np.empty(_BLOCK, np.int32)
    factors = (gains[0], gains[1], gains[2])
    for block in range(start, stop):
        b, first = block // many, block % many * _BLOCK
        n = min(_BLOCK, voxels - first)
        _positions(first, n, moves[b % moves.shape[0]], bases, gains, shape, position)
        _cells(position, absent, sizes, border, n, cell, work)
        _slopes(position, absent, sizes, border, n, work)
        in_x = unused if absent else out[b, 0, first:]
        in_y, in_z = out[b, 1 - absent, first:], out[b, 2 - absent, first:]
        for c in range(image.shape[1]):
            _corners(image[b % image.shape[0], c], sizes, cell, n, work)
            _add_slopes(work, upstream[b, c, first:], factors, n, in_x, in_y, in_z)


@kernel(fastmath=_FMA)
def _add_second(work: Any, g: Any, h: Any, n: Any, along: Any, out: Any) -> None:
    hx, hy, hz = h[0], h[1], h[2]
    in_x, in_y, in_z = out[0], out[1], out[2]
    for i in range(np.uint64(n)):
        (p, q, r, s), (p_z, q_z, r_z, s_z) = _lines(work, i)
        x0, x1, y0, y1 = work[_X0 + i], work[_X1 + i], work[_Y0 + i], work[_Y1 + i]
        s0, s1, t0, t1 = work[_SX0 + i], work[_SX1 + i], work[_SY0 + i], work[_SY1 + i]
        near_y, far_y, near_z, far_z = (
            t0 * p + t1 * q,
            t0 * r + t1 * s,
            y0 * p_z + y1 * q_z,
            y0 * r_z + y1 * s_z,
        )
        along_x = s0 * (y0 * p + y1 * q) + s1 * (y0 * r + y1 * s)
        along[i] = hx[i] * along_x + hy[i] * (x0 * near_y + x1 * far_y) + hz[i] * (x0 * near_z + x1 * far_z)
        xy, xz = s0 * near_y + s1 * far_y, s0 * near_z + s1 * far_z
        yz = x0 * (t0 * p_z + t1 * q_z) + x1 * (t0 * r_z + t1 * s_z)
        in_x[i] += g[i] * (hy[i] * xy + hz[i] * xz)
        in_y[i] += g[i] * (hx[i] * xy + hz[i] * yz)
        in_z[i] += g[i] * (hx[i] * xz + hy[i] * yz)


@kernel(fastmath=_FMA)
def second_gradient(
    start: Any, stop: Any, along: Any, upstream: Any, image: Any, sizes: Any, moves: Any, shape: Any,
    bases: Any, gains: Any, border: Any, out_upstream: Any, out: Any,
) -> None:  # fmt: skip
    """Gradients of Σ_a h_a f_a in g and in the displacement, where f is `field_gradient`, of some blocks.

    With H_a = gain_a h_a: Σ_a H_a ∂_a value_c in g_c, and gain_b Σ_c g_c Σ_{a≠b} H_a ∂_a∂_b value_c in u_b.

    Args are those of `field_gradient`, with h (B, D, N), out_upstream (B, C, N) and out (B, D, N), written.
    """
    voxels, absent = moves.shape[2], 3 - moves.shape[1]
    many = (voxels + _BLOCK - 1) // _BLOCK
    position, work = np.zeros((3, _BLOCK), out.dtype), _workspace(out)
    result, h = np.empty((3, _BLOCK), out.dtype), np.zeros((3, _BLOCK), out.dtype)
    cell = np.empty(_BLOCK, np.int32)
    for block in range(start, stop):
        b, first = block // many, block % many * _BLOCK
        n = min(_BLOCK, voxels - first)
        _positions(first, n, moves[b % moves.shape[0]], bases, gains, shape, position)
        _cells(position, absent, sizes, border, n, cell, work)
        _slopes(position, absent, sizes, border, n, work)
        for axis in range(3):
            for i in range(n):
                result[axis, i] = 0
                h[axis, i] = gains[axis] * along[b, axis - absent, first + i] if axis >= absent else 0
        for c in range(image.shape[1]):
            _corners(image[b % image.shape[0], c], sizes, cell, n, work)
            _add_second(work, upstream[b, c, first:], h, n, out_upstream[b, c, first:], result)
        for axis in range(absent, 3):
            row, gain = out[b, axis - absent, first:], gains[axis]
            for i in range(n):
                row[i] = gain * result[axis, i]


@kernel(fastmath=_FMA)
def spans(
    start: Any, stop: Any, sizes: Any, moves: Any, shape: Any, bases: Any, gains: Any, border: Any, out: Any
) -> None:  # fmt: skip
    """Lowest and highest lower corner of blocks start … stop, out (blocks, 2)."""
    voxels, absent = moves.shape[2], 3 - moves.shape[1]
    many = (voxels + _BLOCK - 1) // _BLOCK
    position, work = np.zeros((3, _BLOCK), moves.dtype), _workspace(moves)
    cell = np.empty(_BLOCK, np.int32)
    for block in range(start, stop):
        b, first = block // many, block % many * _BLOCK
        n = min(_BLOCK, voxels - first)
        _positions(first, n, moves[b], bases, gains, shape, position)
        _cells(position, absent, sizes, border, n, cell, work)
        least, most = cell[0], cell[0]
        for i in range(n):
            least, most = min(least, cell[i]), max(most, cell[i])
        out[block, 0], out[block, 1] = least, most


@kernel(fastmath=_FMA)
def image_gradient(
    start: Any, stop: Any, slabs: Any, reach: Any, upstream: Any, sizes: Any, moves: Any, shape: Any,
    bases: Any, gains: Any, border: Any, out: Any,
) -> None:  # fmt: skip
    """Gradient in the image, Σ_x g(x) Π w over the corners, of slabs start … stop, counted over the batch.

    A slab is a range of planes of the image (of rows in two dimensions). Every slab goes through the blocks
    of the grid in order and adds what falls into it, so that the sums do not depend on the number of slabs.

    Args are those of `forward`, with the number of slabs, the `spans` of all blocks, the upstream gradient
    g (B, C, N) and out (B, C, V), added to.
    """
    voxels, absent = moves.shape[2], 3 - moves.shape[1]
    many = (voxels + _BLOCK - 1) // _BLOCK
    position, work = np.zeros((3, _BLOCK), out.dtype), _workspace(out)
    cell = np.empty(_BLOCK, np.int32)
    dx, dy = sizes[1] * sizes[2], sizes[2] if sizes[1] > 1 else 0
    dz = np.uint64(1 if sizes[2] > 1 else 0)
    planes, jump = (sizes[0], dx) if sizes[0] > 1 else (sizes[1], sizes[2])
    for item in range(start, stop):
        b, slab = item // slabs, item % slabs
        low, high = planes * slab // slabs * jump, planes * (slab + 1) // slabs * jump
        for block in range(many):
            known = b % moves.shape[0] * many + block
            if slabs > 1 and (reach[known, 0] >= high or reach[known, 1] + jump < low):
                continue
            first = block * _BLOCK
            n = min(_BLOCK, voxels - first)
            _positions(first, n, moves[b % moves.shape[0]], bases, gains, shape, position)
            _cells(position, absent, sizes, border, n, cell, work)
            for c in range(out.shape[1]):
                target, g = out[b, c], upstream[b, c, first:]
                for i in range(np.uint64(n)):
                    k, share = np.int64(cell[i]), g[i] * work[_X0 + i]
                    if sizes[0] > 1:
                        if low <= k < high:
                            _spread(target, np.uint64(k), np.uint64(dy), dz, share, work, i)
                        k += dx
                        if low <= k < high:
                            share = g[i] * work[_X1 + i]
                            _spread(target, np.uint64(k), np.uint64(dy), dz, share, work, i)
                    else:
                        if low <= k < high:
                            _spread_line(target, np.uint64(k), dz, share * work[_Y0 + i], work, i)
                        k += dy
                        if low <= k < high:
                            _spread_line(target, np.uint64(k), dz, share * work[_Y1 + i], work, i)


@kernel(fastmath=_FMA)
def _spread_line(target: Any, k: Any, dz: Any, share: Any, work: Any, i: Any) -> None:
    target[k] += share * work[_Z0 + i]
    target[k + dz] += share * work[_Z1 + i]


@kernel(fastmath=_FMA)
def _spread(target: Any, k: Any, dy: Any, dz: Any, share: Any, work: Any, i: Any) -> None:
    _spread_line(target, k, dz, share * work[_Y0 + i], work, i)
    _spread_line(target, k + dy, dz, share * work[_Y1 + i], work, i)
