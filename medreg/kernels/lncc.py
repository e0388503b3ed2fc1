"""Local correlation and its gradient in one sweep through the image, at a cost that no window changes.

The sweep runs along the first axis. Planes of window sums are kept up to date by adding the plane that enters
the window and taking out the one that leaves it; each plane is then summed along its rows and columns in the
same way. From the window sums of a voxel come its correlation and the derivatives with respect to those sums
(the coefficients); the gradient is made of window sums of the coefficients, which follow the sweep half a
window behind. So the images are read, the gradient is written, and nothing of their size lies between.
All sums are float64: a running sum in float32 would lose the digits of dark regions behind bright ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medreg.kernels.compile import kernel

_BLOCK = 256  # voxels of a row at a time: lines of one scratch array, which the compiler can vectorise over
_LINES = 13
Array = NDArray[Any]
_CONTRACT = frozenset({"contract"})


@dataclass(frozen=True)
class Images:
    """What the sweep reads: items (a sample's channels) as volumes, a 2-D image (X, Y) as (X, 1, Y).

    Attributes:
        warped: (items, X, Y, Z).
        fixed: the same shape and precision.
        mask: (samples, X, Y, Z), the items of a sample in turn being its channels, or of size 0.
        means: (items, 2) float64 of warped and fixed; they only keep the sums small.
        scale: (items,) float64, factor of the gradient.
    """

    warped: Array
    fixed: Array
    mask: Array
    means: Array
    scale: Array


@dataclass(frozen=True)
class Rule:
    """What is computed: v = c²/(ab + ε), or c/√(ab + ε) if signed, of c = Σwf − ΣwΣf/n and a, b alike.

    Attributes:
        radius: (3,) half widths of the window, voxels.
        zeros: voxels outside count as intensity 0 in windows of full size (and the mask in none of them).
        eps: ε.
        signed: which v.
    """

    radius: Array
    zeros: bool
    eps: float
    signed: bool


def sweep(
    start: int, stop: int, parts: int, images: Images, rule: Rule, values: Array, to_w: Array, to_f: Array
) -> None:
    """Sum of m·v over the voxels of each part, and its gradient where there is an array to take it.

    Args:
        start: first part; every item is cut into so many slabs along its first axis.
        stop: last part + 1.
        parts: slabs an item.
        images: the images.
        rule: the definition of v.
        values: (items·parts,) filled.
        to_w: (items, X, Y, Z) filled, or of size 0.
        to_f: (items, X, Y, Z) filled, or of size 0.
    """
    w, mask, radius = images.warped, images.mask, rule.radius
    size, rows, columns = w.shape[1:]
    fields = (3 if to_w.size else 0) + (2 if to_f.size else 0)
    moments = 6 if mask.size and not rule.zeros else 5
    for piece in range(start, stop):
        item, part = divmod(piece, parts)
        values[piece] = _sweep_slab(
            size * part // parts,
            size * (part + 1) // parts,
            w[item],
            images.fixed[item],
            mask[item * len(mask) // len(w)] if mask.size else w[item, :0],
            images.means[item],
            radius,
            rule.zeros,
            images.scale[item],
            rule.eps,
            rule.signed,
            to_w[item] if fields else w[item, :0],
            to_f[item] if fields > 3 else w[item, :0],
            np.zeros((moments, rows, columns)),
            np.zeros((fields, rows, columns)),
            np.zeros((2 * radius[0] + 1 if fields else 0, fields, rows, columns)),
            np.zeros((6, columns)),
            np.zeros((6, columns + 2 * radius[2] + 1)),
            np.zeros((_LINES, max(columns, _BLOCK))),
        )


@kernel
def _sweep_slab(
    first: int,
    last: int,
    w: Array,
    f: Array,
    mask: Array,
    means: Array,
    radius: Array,
    zeros: bool,
    scale: float,
    eps: float,
    signed: bool,
    to_w: Array,
    to_f: Array,
    planes: Array,
    sums: Array,
    ring: Array,
    row: Array,
    prefix: Array,
    scratch: Array,
) -> float:
    """Planes first … last: `planes` and `sums` hold running sums of moments and coefficients, zero at first."""
    size, behind = w.shape[0], radius[0]
    fields = sums.shape[0]
    lag = behind if fields else 0
    begin = max(0, first - lag)
    entered = left = max(0, begin - behind)
    total = 0.0
    for x in range(begin, last + lag):
        top = min(x + behind + 1, size)
        while entered < top or left < x - behind:  # one call each, for a short compilation
            new = entered < top
            _add_plane(planes, w, f, mask, means, entered if new else left, 1.0 if new else -1.0)
            entered, left = (entered + 1, left) if new else (entered, left + 1)
        if x < size:
            near = top - max(x - behind, 0)
            value = _correlate_plane(
                planes,
                near,
                x,
                mask,
                means,
                radius,
                zeros,
                scale,
                eps,
                signed,
                sums,
                ring,
                row,
                prefix,
                scratch,
            )
            total += value if first <= x < last else 0.0
        elif fields:
            _forget(sums, ring[x % ring.shape[0]])
        if fields and x - lag >= first:
            _gradient_plane(sums, radius, w, f, mask, means, zeros, x - lag, to_w, to_f, row, prefix, scratch)
    return total


@kernel(fastmath=_CONTRACT)
def _add_plane(planes: Array, w: Array, f: Array, mask: Array, means: Array, x: int, sign: float) -> None:
    """Add (or take out) mw, mf, mww, mff, mwf and m of one plane; without a sixth plane, m is 1."""
    mean_w, mean_f = means[0], means[1]
    for y in range(w.shape[1]):
        row_w, row_f = w[x, y], f[x, y]
        first_w, first_f, square_w, square_f, cross = (
            planes[0, y], planes[1, y], planes[2, y], planes[3, y], planes[4, y],
        )  # fmt: skip
        if planes.shape[0] == 6:
            row_m, count = mask[x, y], planes[5, y]
            for z in range(row_w.size):
                a, b, m = row_w[z] - mean_w, row_f[z] - mean_f, sign * row_m[z]
                count[z] += m
                first_w[z] += m * a
                first_f[z] += m * b
                square_w[z] += m * a * a
                square_f[z] += m * b * b
                cross[z] += m * a * b
        else:
            for z in range(row_w.size):
                a, b = row_w[z] - mean_w, row_f[z] - mean_f
                first_w[z] += sign * a
                first_f[z] += sign * b
                square_w[z] += sign * a * a
                square_f[z] += sign * b * b
                cross[z] += sign * a * b


@kernel
def _correlate_plane(
    planes: Array,
    near: int,
    x: int,
    mask: Array,
    means: Array,
    radius: Array,
    zeros: bool,
    scale: float,
    eps: float,
    signed: bool,
    sums: Array,
    ring: Array,
    row: Array,
    prefix: Array,
    scratch: Array,
) -> float:
    """Sum of m·v over plane x; its coefficients enter `sums` and take the place of old ones in the ring."""
    moments, rows, columns = planes.shape
    beside, ahead, slot = radius[1], radius[2], x % max(1, ring.shape[0])
    s = scratch.ravel()
    full = float((2 * radius[0] + 1) * (2 * beside + 1) * (2 * ahead + 1))
    total = 0.0
    for y in range(rows):
        _slide_rows(row, planes, y, beside)
        _prefix_sums(prefix, row, moments, ahead)
        near_y = near * (min(y + beside, rows - 1) - max(y - beside, 0) + 1)
        for z in range(0, columns, _BLOCK):
            size = min(_BLOCK, columns - z)
            for k in range(moments):
                _window_sums(s[k * _BLOCK :], prefix[k, z:], size, ahead)
            _counts(s, z, size, columns, ahead, near_y, full, zeros, moments)
            _correlate(s, size, means[0], means[1], eps, signed)
            if mask.size:
                weights = mask[x, y, z : z + size]
                for line in range(7, 8 + sums.shape[0]):
                    for i in range(size):
                        s[line * _BLOCK + i] *= weights[i]
            for i in range(size):
                total += s[7 * _BLOCK + i]
            for k in range(sums.shape[0]):
                _replace(sums[k, y, z : z + size], ring[slot, k, y, z:], s[(8 + k) * _BLOCK :], scale)
    return total


@kernel
def _slide_rows(row: Array, planes: Array, y: int, radius: int) -> None:
    """Bring the lines of row (K, Z) from the window around y − 1 to that around y; y = 0 starts afresh."""
    for k in range(planes.shape[0]):
        line = row[k]
        if y == 0:
            for z in range(line.size):
                line[z] = 0.0
        for enters in range(0 if y == 0 else y + radius, min(y + radius + 1, planes.shape[1])):
            new = planes[k, enters]
            for z in range(line.size):
                line[z] += new[z]
        if y > radius:
            old = planes[k, y - radius - 1]
            for z in range(line.size):
                line[z] -= old[z]


@kernel
def _prefix_sums(prefix: Array, row: Array, lines: int, radius: int) -> None:
    """Prefix sums of each line, padded so that the window sum of voxel z is prefix[z + 2r + 1] − prefix[z]."""
    size = row.shape[1]
    for k in range(lines):
        line, out, total = row[k], prefix[k, radius + 1 :], 0.0
        for z in range(size):
            total += line[z]
            out[z] = total
        for z in range(size, out.size):
            out[z] = total


@kernel
def _window_sums(out: Array, prefix: Array, size: int, radius: int) -> None:
    """Window sums of so many voxels from the start of a line of prefix sums."""
    high = prefix[2 * radius + 1 :]
    for i in range(size):
        out[i] = high[i] - prefix[i]


@kernel
def _counts(
    s: Array, z: int, size: int, columns: int, radius: int, near: int, full: float, zeros: bool, moments: int
) -> None:
    """Lines 5, voxels that the window divides by, and 6, those of them that lie outside the image."""
    for i in range(size):
        inside = near * float(min(z + i + radius, columns - 1) - max(z + i - radius, 0) + 1)
        if moments == 6:
            s[5 * _BLOCK + i] = max(s[5 * _BLOCK + i], 1e-12)
        else:
            s[5 * _BLOCK + i] = full if zeros else inside
        s[6 * _BLOCK + i] = full - inside if zeros else 0.0


@kernel(fastmath=_CONTRACT)
def _correlate(s: Array, size: int, mean_w: float, mean_f: float, eps: float, signed: bool) -> None:
    """Lines 0 Σw, 1 Σf, 2 Σww, 3 Σff, 4 Σwf, 5 n, 6 voxels outside → 7 v and 8 … 12 its coefficients.

    8 ∂v/∂Σwf, 9 ∂v/∂Σww, 10 −∂v/∂Σw, 11 ∂v/∂Σff, 12 −∂v/∂Σf.
    """
    for i in range(size):
        inverse, lost = 1.0 / s[5 * _BLOCK + i], s[6 * _BLOCK + i]
        sum_w, sum_f = s[i] - lost * mean_w, s[_BLOCK + i] - lost * mean_f
        at_w, at_f = sum_w * inverse, sum_f * inverse
        a = s[2 * _BLOCK + i] + lost * mean_w * mean_w - sum_w * at_w
        b = s[3 * _BLOCK + i] + lost * mean_f * mean_f - sum_f * at_f
        c = s[4 * _BLOCK + i] + lost * mean_w * mean_f - sum_w * at_f
        live_a, live_b = (0.0 if a < 0.0 else 1.0), (0.0 if b < 0.0 else 1.0)
        a, b = (0.0 if a < 0.0 else a), (0.0 if b < 0.0 else b)
        quotient = 1.0 / (a * b + eps)
        by_c = np.sqrt(quotient) if signed else 2.0 * c * quotient
        value = c * by_c if signed else 0.5 * c * by_c
        common = -value * quotient * (0.5 if signed else 1.0)
        by_a, by_b = common * b * live_a, common * a * live_b
        s[7 * _BLOCK + i] = value
        s[8 * _BLOCK + i] = by_c
        s[9 * _BLOCK + i] = 2.0 * by_a
        s[10 * _BLOCK + i] = by_c * at_f + 2.0 * by_a * at_w
        s[11 * _BLOCK + i] = 2.0 * by_b
        s[12 * _BLOCK + i] = by_c * at_w + 2.0 * by_b * at_f


@kernel(fastmath=_CONTRACT)
def _replace(sums: Array, kept: Array, fresh: Array, factor: float) -> None:
    """New coefficients into their window sums, those of 2r + 1 planes before out."""
    for i in range(sums.size):
        new = fresh[i] * factor
        sums[i] += new - kept[i]
        kept[i] = new


@kernel
def _forget(sums: Array, kept: Array) -> None:
    """Take the coefficients that leave the window out of the sums; beyond the image none enter."""
    for k in range(sums.shape[0]):
        for y in range(sums.shape[1]):
            line, old = sums[k, y], kept[k, y]
            for z in range(line.size):
                line[z] -= old[z]
                old[z] = 0.0


@kernel
def _gradient_plane(
    sums: Array,
    radius: Array,
    w: Array,
    f: Array,
    mask: Array,
    means: Array,
    zeros: bool,
    x: int,
    to_w: Array,
    to_f: Array,
    row: Array,
    prefix: Array,
    line: Array,
) -> None:
    """∂/∂w = m·(f·Σ[8] + w·Σ[9] − Σ[10]) at plane x, Σ the window sum of a coefficient; ∂/∂f alike."""
    fields, rows, columns = sums.shape
    for y in range(rows):
        _slide_rows(row, sums, y, radius[1])
        _prefix_sums(prefix, row, fields, radius[2])
        for k in range(fields):
            _window_sums(line[k], prefix[k], columns, radius[2])
        _gradient_row(to_w[x, y], line[0], line[1], line[2], w[x, y], f[x, y], means[0], means[1])
        if fields > 3:
            _gradient_row(to_f[x, y], line[0], line[3], line[4], f[x, y], w[x, y], means[1], means[0])
        if mask.size and not zeros:
            _scale(to_w[x, y], mask[x, y])
            if fields > 3:
                _scale(to_f[x, y], mask[x, y])


@kernel(fastmath=_CONTRACT)
def _gradient_row(
    out: Array,
    by_c: Array,
    by_a: Array,
    constant: Array,
    own: Array,
    other: Array,
    mean_own: float,
    mean_other: float,
) -> None:
    for z in range(out.size):
        out[z] = (other[z] - mean_other) * by_c[z] + (own[z] - mean_own) * by_a[z] - constant[z]


@kernel
def _scale(values: Array, weights: Array) -> None:
    for z in range(values.size):
        values[z] *= weights[z]
