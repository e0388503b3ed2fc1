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


def blocks(voxels: int) -> int:
    """Number of blocks of a grid."""
    return -(-voxels // _BLOCK)


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
def _cells(position: Any, sizes: Any, border: Any, count: Any, cell: Any, weight: Any) -> None:
    """Flat index of the lower corner, inside the image whatever the position, and two weights an axis.

    A position that is not a number keeps an index inside and gives weights that are not numbers.
    """
    kind = weight.dtype.type
    zero, one, two = kind(0), kind(1), kind(2)
    for i in range(count):
        cell[i] = 0
    for axis in range(3):
        size = sizes[axis]
        row, below, above = position[axis], weight[axis, 0], weight[axis, 1]
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
            above[:count] = zero


@kernel(fastmath=_FMA)
def _slopes(position: Any, sizes: Any, border: Any, count: Any, slope: Any) -> None:
    """Derivatives of the weights from the right; with border padding zero at the border and beyond."""
    kind = slope.dtype.type
    zero, one, two = kind(0), kind(1), kind(2)
    for axis in range(3):
        row, below, above = position[axis], slope[axis, 0], slope[axis, 1]
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
            above[:count] = zero


@kernel(fastmath=_FMA)
def _bilinear(source: Any, k: Any, dy: Any, dz: Any, weight: Any, i: Any) -> Any:
    """Interpolation in the plane of the two last axes from corner k with weights of voxel i of the block."""
    near = weight[2, 0, i] * source[k] + weight[2, 1, i] * source[k + dz]
    far = weight[2, 0, i] * source[k + dy] + weight[2, 1, i] * source[k + dy + dz]
    return weight[1, 0, i] * near + weight[1, 1, i] * far


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
    voxels = moves.shape[2]
    many = (voxels + _BLOCK - 1) // _BLOCK
    position = np.zeros((3, _BLOCK), out.dtype)
    weight = np.empty((3, 2, _BLOCK), out.dtype)
    cell = np.empty(_BLOCK, np.int32)
    dx, dy = np.uint64(sizes[1] * sizes[2]), np.uint64(sizes[2] if sizes[1] > 1 else 0)
    dz = np.uint64(1 if sizes[2] > 1 else 0)
    for block in range(start, stop):
        b, first = block // many, block % many * _BLOCK
        n = min(_BLOCK, voxels - first)
        _positions(first, n, moves[b % moves.shape[0]], bases, gains, shape, position)
        _cells(position, sizes, border, n, cell, weight)
        for c in range(image.shape[1]):
            source, result = image[b % image.shape[0], c], out[b, c, first:]
            if sizes[0] > 1:
                for i in range(n):
                    k = np.uint64(cell[i])
                    near = _bilinear(source, k, dy, dz, weight, i)
                    far = _bilinear(source, k + dx, dy, dz, weight, i)
                    result[i] = weight[0, 0, i] * near + weight[0, 1, i] * far
            else:
                for i in range(n):
                    result[i] = weight[0, 0, i] * _bilinear(source, np.uint64(cell[i]), dy, dz, weight, i)
            if residual:
                for i in range(n):
                    result[i] += source[first + i]


@kernel(fastmath=_FMA)
def _plane(source: Any, k: Any, dy: Any, dz: Any, weight: Any, slope: Any, i: Any) -> Any:
    """Value, both derivatives and the mixed derivative in the plane of the two last axes from corner k."""
    a, b, c, d = source[k], source[k + dz], source[k + dy], source[k + dy + dz]
    z0, z1, s0, s1 = weight[2, 0, i], weight[2, 1, i], slope[2, 0, i], slope[2, 1, i]
    near, far = z0 * a + z1 * b, z0 * c + z1 * d
    near_slope, far_slope = s0 * a + s1 * b, s0 * c + s1 * d
    y0, y1, t0, t1 = weight[1, 0, i], weight[1, 1, i], slope[1, 0, i], slope[1, 1, i]
    return (
        y0 * near + y1 * far,
        t0 * near + t1 * far,
        y0 * near_slope + y1 * far_slope,
        t0 * near_slope + t1 * far_slope,
    )


@kernel(fastmath=_FMA)
def field_gradient(
    start: Any, stop: Any, upstream: Any, image: Any, sizes: Any, moves: Any, shape: Any, bases: Any,
    gains: Any, border: Any, out: Any,
) -> None:  # fmt: skip
    """Gradient in the displacement, gain_a Σ_c g_c ∂value_c/∂p_a, of blocks start … stop.

    Args are those of `forward`, with the upstream gradient g (B, C, N) and out (B, D, N), added to.
    """
    voxels, absent, zero = moves.shape[2], 3 - moves.shape[1], out.dtype.type(0)
    many = (voxels + _BLOCK - 1) // _BLOCK
    position = np.zeros((3, _BLOCK), out.dtype)
    weight, slope = np.empty((3, 2, _BLOCK), out.dtype), np.empty((3, 2, _BLOCK), out.dtype)
    cell = np.empty(_BLOCK, np.int32)
    dx, dy = np.uint64(sizes[1] * sizes[2]), np.uint64(sizes[2] if sizes[1] > 1 else 0)
    dz = np.uint64(1 if sizes[2] > 1 else 0)
    for block in range(start, stop):
        b, first = block // many, block % many * _BLOCK
        n = min(_BLOCK, voxels - first)
        _positions(first, n, moves[b % moves.shape[0]], bases, gains, shape, position)
        _cells(position, sizes, border, n, cell, weight)
        _slopes(position, sizes, border, n, slope)
        source, g, row = image[b % image.shape[0]], upstream[b, :, first:], out[b, :, first:]
        if sizes[0] > 1:
            for i in range(n):
                k = np.uint64(cell[i])
                in_x, in_y, in_z = zero, zero, zero
                w0, w1, s0, s1 = weight[0, 0, i], weight[0, 1, i], slope[0, 0, i], slope[0, 1, i]
                for c in range(g.shape[0]):
                    near, near_y, near_z, _ = _plane(source[c], k, dy, dz, weight, slope, i)
                    far, far_y, far_z, _ = _plane(source[c], k + dx, dy, dz, weight, slope, i)
                    in_x += g[c, i] * (s0 * near + s1 * far)
                    in_y += g[c, i] * (w0 * near_y + w1 * far_y)
                    in_z += g[c, i] * (w0 * near_z + w1 * far_z)
                row[0, i] += gains[0] * in_x
                row[1, i] += gains[1] * in_y
                row[2, i] += gains[2] * in_z
        else:
            for i in range(n):
                k = np.uint64(cell[i])
                in_x, in_y, in_z = zero, zero, zero
                for c in range(g.shape[0]):
                    value, slope_y, slope_z, _ = _plane(source[c], k, dy, dz, weight, slope, i)
                    in_x += g[c, i] * slope[0, 0, i] * value
                    in_y += g[c, i] * weight[0, 0, i] * slope_y
                    in_z += g[c, i] * weight[0, 0, i] * slope_z
                if absent == 0:
                    row[0, i] += gains[0] * in_x
                row[1 - absent, i] += gains[1] * in_y
                row[2 - absent, i] += gains[2] * in_z


@kernel(fastmath=_FMA)
def spans(
    start: Any, stop: Any, sizes: Any, moves: Any, shape: Any, bases: Any, gains: Any, border: Any, out: Any
) -> None:  # fmt: skip
    """Lowest and highest lower corner of blocks start … stop, out (blocks, 2)."""
    voxels = moves.shape[2]
    many = (voxels + _BLOCK - 1) // _BLOCK
    position, weight = np.zeros((3, _BLOCK), moves.dtype), np.empty((3, 2, _BLOCK), moves.dtype)
    cell = np.empty(_BLOCK, np.int32)
    for block in range(start, stop):
        b, first = block // many, block % many * _BLOCK
        n = min(_BLOCK, voxels - first)
        _positions(first, n, moves[b], bases, gains, shape, position)
        _cells(position, sizes, border, n, cell, weight)
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
    voxels = moves.shape[2]
    many = (voxels + _BLOCK - 1) // _BLOCK
    position, weight = np.zeros((3, _BLOCK), out.dtype), np.empty((3, 2, _BLOCK), out.dtype)
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
            _cells(position, sizes, border, n, cell, weight)
            for c in range(out.shape[1]):
                target, g = out[b, c], upstream[b, c, first:]
                for i in range(n):
                    k, share = np.int64(cell[i]), g[i] * weight[0, 0, i]
                    if sizes[0] > 1:
                        if low <= k < high:
                            _spread(target, np.uint64(k), np.uint64(dy), dz, share, weight, i)
                        k += dx
                        if low <= k < high:
                            share = g[i] * weight[0, 1, i]
                            _spread(target, np.uint64(k), np.uint64(dy), dz, share, weight, i)
                    else:
                        if low <= k < high:
                            _spread_line(target, np.uint64(k), dz, share * weight[1, 0, i], weight, i)
                        k += dy
                        if low <= k < high:
                            _spread_line(target, np.uint64(k), dz, share * weight[1, 1, i], weight, i)


@kernel(fastmath=_FMA)
def _spread_line(target: Any, k: Any, dz: Any, share: Any, weight: Any, i: Any) -> None:
    target[k] += share * weight[2, 0, i]
    target[k + dz] += share * weight[2, 1, i]


@kernel(fastmath=_FMA)
def _spread(target: Any, k: Any, dy: Any, dz: Any, share: Any, weight: Any, i: Any) -> None:
    _spread_line(target, k, dz, share * weight[1, 0, i], weight, i)
    _spread_line(target, k + dy, dz, share * weight[1, 1, i], weight, i)


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
    position = np.zeros((3, _BLOCK), out.dtype)
    weight, slope = np.empty((3, 2, _BLOCK), out.dtype), np.empty((3, 2, _BLOCK), out.dtype)
    result, h = np.empty((3, _BLOCK), out.dtype), np.zeros((3, _BLOCK), out.dtype)
    cell = np.empty(_BLOCK, np.int32)
    dx, dy = np.uint64(sizes[1] * sizes[2] if sizes[0] > 1 else 0), np.uint64(sizes[2] if sizes[1] > 1 else 0)
    dz = np.uint64(1 if sizes[2] > 1 else 0)
    for block in range(start, stop):
        b, first = block // many, block % many * _BLOCK
        n = min(_BLOCK, voxels - first)
        _positions(first, n, moves[b % moves.shape[0]], bases, gains, shape, position)
        _cells(position, sizes, border, n, cell, weight)
        _slopes(position, sizes, border, n, slope)
        for axis in range(3):
            for i in range(n):
                result[axis, i] = 0
                h[axis, i] = gains[axis] * along[b, axis - absent, first + i] if axis >= absent else 0
        for c in range(image.shape[1]):
            source, g, row = image[b % image.shape[0], c], upstream[b, c, first:], out_upstream[b, c, first:]
            for i in range(n):
                k, hx, hy, hz = np.uint64(cell[i]), h[0, i], h[1, i], h[2, i]
                w0, w1, s0, s1 = weight[0, 0, i], weight[0, 1, i], slope[0, 0, i], slope[0, 1, i]
                near, near_y, near_z, near_yz = _plane(source, k, dy, dz, weight, slope, i)
                far, far_y, far_z, far_yz = _plane(source, k + dx, dy, dz, weight, slope, i)
                xy, xz, yz = s0 * near_y + s1 * far_y, s0 * near_z + s1 * far_z, w0 * near_yz + w1 * far_yz
                row[i] = (
                    hx * (s0 * near + s1 * far)
                    + hy * (w0 * near_y + w1 * far_y)
                    + hz * (w0 * near_z + w1 * far_z)
                )
                result[0, i] += g[i] * (hy * xy + hz * xz)
                result[1, i] += g[i] * (hx * xy + hz * yz)
                result[2, i] += g[i] * (hx * xz + hy * yz)
        for axis in range(out.shape[1]):
            gain = gains[axis + absent]
            for i in range(n):
                out[b, axis, first + i] = gain * result[axis + absent, i]
