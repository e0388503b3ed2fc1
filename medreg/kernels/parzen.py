"""Joint histograms with Gaussian windows that reach three bins: a voxel touches 7 × 7 of the bins.

In units of the distance of two bin centres, a value t = i + d, |d| ≤ ½, has at bin i + k the window value

    K_k = exp(−(d − k)²/2s²) = e · q^k · c_k,   e = exp(−d²/2s²),   q = exp(d/s²),   c_k = exp(−k²/2s²),

two exponentials for all of them. With s ≤ 0.425 the bins beyond |k| = 3 would have at most 2·10⁻¹⁵ of the
peak. Histograms have a margin that values outside the range fall into, so that the loops ask no questions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medreg.kernels.compile import kernel

REACH = 3  # bins to each side that a value touches
MARGIN = 2 * REACH + 1  # bins outside the range, at each side; one more at the end of a row for vectors of 8
_LANES = 8
_BLOCK = 256
_SMALL = 0.1  # the power series of exp below is exact to 3·10⁻¹⁷ up to here
_CONTRACT = frozenset({"contract"})
Array = NDArray[Any]


@dataclass(frozen=True)
class Bins:
    """Bin centres and window width.

    Attributes:
        number: bins.
        lowest: intensity of the first centre.
        step: intensity between two centres.
        sigma: s, standard deviation of the window in steps, at most 0.425.
    """

    number: int
    lowest: float
    step: float
    sigma: float

    @property
    def padded(self) -> tuple[int, int]:
        """Shape of a histogram with its margin."""
        return self.number + 2 * MARGIN, self.number + 2 * MARGIN + 1

    @property
    def numbers(self) -> Array:
        """Lowest, 1/step, 1/s², number of halvings for the power series, c_−3 … c_3, 0."""
        s2 = self.sigma**2
        halvings = max(0, math.ceil(math.log2(0.5 / s2 / _SMALL)))
        centres = [math.exp(-(k**2) / (2 * s2)) for k in range(-REACH, REACH + 1)]
        return np.array([self.lowest, 1.0 / self.step, 1.0 / s2, halvings, *centres, 0.0])


def histogram_parts(
    start: int, stop: int, parts: int, w: Array, f: Array, weights: Array, bins: Bins, histograms: Array
) -> None:
    """Add the voxels of each part to its own histogram.

    Args:
        start: first part; an item is cut into so many runs of voxels.
        stop: last part + 1.
        parts: runs an item.
        w: (items, N) intensities, rows of the histogram.
        f: (items, N) intensities, columns.
        weights: (items, N) of the voxels, or of size 0.
        bins: the windows.
        histograms: (items·parts, *bins.padded) float64, zero at first.
    """
    numbers = bins.numbers
    for piece in range(start, stop):
        item, part = divmod(piece, parts)
        run = slice(w.shape[1] * part // parts, w.shape[1] * (part + 1) // parts)
        seen = weights[item, run] if weights.size else w[item, :0]
        _count(w[item, run], f[item, run], seen, numbers, bins.number, histograms[piece], *_workspace())


def gradient_parts(
    start: int,
    stop: int,
    parts: int,
    w: Array,
    f: Array,
    weights: Array,
    bins: Bins,
    upstream: Array,
    to_w: Array,
    to_f: Array,
) -> None:
    """Derivative of Σ upstream·histogram with respect to the intensities of each part.

    Args:
        start: first part, as for the histogram.
        stop: last part + 1.
        parts: runs an item.
        w: (items, N).
        f: (items, N).
        weights: (items, N), or of size 0.
        bins: the windows.
        upstream: (items, *bins.padded) float64, 0 in the margin.
        to_w: (items, N) filled, or of size 0.
        to_f: (items, N) filled, or of size 0.
    """
    numbers = bins.numbers
    for piece in range(start, stop):
        item, part = divmod(piece, parts)
        run = slice(w.shape[1] * part // parts, w.shape[1] * (part + 1) // parts)
        seen, out_w, out_f = (a[item, run] if a.size else w[item, :0] for a in (weights, to_w, to_f))
        _gather(
            w[item, run],
            f[item, run],
            seen,
            numbers,
            bins.number,
            upstream[item],
            out_w,
            out_f,
            *_workspace(),
        )


def _workspace() -> list[Array]:
    """Bin numbers of both images; their windows, slopes and exponentials, (8, block) and voxel by voxel."""
    tables = [np.zeros(_LANES * _BLOCK) for _ in range(6)]
    return [np.zeros((2, _BLOCK), np.int64), *tables]


@kernel(fastmath=_CONTRACT)
def _windows(
    values: Array,
    numbers: Array,
    bins: int,
    index: Array,
    by_lane: Array,
    windows: Array,
    slopes: Array,
    base: Array,
    ratio: Array,
) -> float:
    """First bin, K_k and dK_k/dv of up to a block of values; windows and slopes have 8 numbers a voxel.

    Returns the number of values that are NaN.
    """
    lowest, per_step, sharpness, halvings = numbers[0], numbers[1], numbers[2], int(numbers[3])
    shrink, ceiling, lost = 0.5**halvings, float(bins + REACH), 0.0
    for v in range(values.size):
        t = (values[v] - lowest) * per_step
        lost += 0.0 if t == t else 1.0
        t = t if t > -REACH - 1.0 else -REACH - 1.0  # also where t is NaN
        t = t if t < ceiling else ceiling
        i = int(t + (REACH + 1.5)) - (REACH + 1)
        d = t - i
        index[v] = i - REACH + MARGIN
        by_lane[7 * _BLOCK + v] = d
        ratio[v] = d * sharpness * shrink
        base[v] = -0.5 * d * d * sharpness * shrink
    _exp(base, values.size, halvings)
    _exp(ratio, values.size, halvings)
    for v in range(values.size):
        e, q = base[v], ratio[v]
        p = 1.0 / q
        q2, p2 = q * q, p * p
        by_lane[v] = e * p2 * p * numbers[4]
        by_lane[_BLOCK + v] = e * p2 * numbers[5]
        by_lane[2 * _BLOCK + v] = e * p * numbers[6]
        by_lane[3 * _BLOCK + v] = e
        by_lane[4 * _BLOCK + v] = e * q * numbers[8]
        by_lane[5 * _BLOCK + v] = e * q2 * numbers[9]
        by_lane[6 * _BLOCK + v] = e * q2 * q * numbers[10]
    for v in range(values.size):
        for k in range(_LANES - 1):
            windows[v * _LANES + k] = by_lane[k * _BLOCK + v]
    if slopes.size:
        for v in range(values.size):
            d = by_lane[7 * _BLOCK + v]
            for k in range(_LANES):
                slopes[v * _LANES + k] = windows[v * _LANES + k] * ((k - REACH) - d) * sharpness * per_step
    return lost


@kernel(fastmath=_CONTRACT)
def _exp(x: Array, size: int, halvings: int) -> None:
    """Replace x by exp(x·2^halvings) for |x| ≤ 0.1 by the power series and repeated squaring."""
    for v in range(size):
        y = x[v]
        series = 1.0 + y * (1.0 / 8.0) * (1.0 + y * (1.0 / 9.0))
        series = 1.0 + y * (1.0 / 6.0) * (1.0 + y * (1.0 / 7.0) * series)
        series = 1.0 + y * 0.25 * (1.0 + y * 0.2 * series)
        x[v] = 1.0 + y * (1.0 + y * 0.5 * (1.0 + y * (1.0 / 3.0) * series))
    for _ in range(halvings):
        for v in range(size):
            x[v] *= x[v]


@kernel(fastmath=_CONTRACT)
def _count(
    w: Array,
    f: Array,
    weights: Array,
    numbers: Array,
    bins: int,
    histogram: Array,
    index: Array,
    lanes: Array,
    windows_w: Array,
    windows_f: Array,
    unused: Array,
    base: Array,
    ratio: Array,
) -> None:
    """Add the voxels to the histogram; NaN in either image makes one bin NaN."""
    flat, width, lost = histogram.ravel(), histogram.shape[1], 0.0
    none = unused[:0]
    for begin in range(0, w.size, _BLOCK):
        end = min(begin + _BLOCK, w.size)
        lost += _windows(w[begin:end], numbers, bins, index[0], lanes, windows_w, none, base, ratio)
        lost += _windows(f[begin:end], numbers, bins, index[1], lanes, windows_f, none, base, ratio)
        if weights.size:
            for v in range(end - begin):
                for k in range(_LANES):
                    windows_w[v * _LANES + k] *= weights[begin + v]
        for v in range(end - begin):
            first = index[0, v] * width + index[1, v]
            column = windows_f[v * _LANES : v * _LANES + _LANES]
            for k in range(_LANES - 1):
                factor = windows_w[v * _LANES + k]
                row = flat[first + k * width : first + k * width + _LANES]
                for j in range(_LANES):
                    row[j] += factor * column[j]
    if lost > 0.0:
        histogram[MARGIN, MARGIN] = np.nan


@kernel(fastmath=_CONTRACT)
def _gather(
    w: Array,
    f: Array,
    weights: Array,
    numbers: Array,
    bins: int,
    upstream: Array,
    to_w: Array,
    to_f: Array,
    index: Array,
    lanes: Array,
    windows_w: Array,
    windows_f: Array,
    slopes: Array,
    base: Array,
    ratio: Array,
) -> None:
    """m·Σ_ij G_ij K'_i(w) K_j(f), and the same with the slope of the other window."""
    flat, width = upstream.ravel(), upstream.shape[1]
    none = slopes[:0]
    slopes_f = np.zeros(slopes.size if to_f.size else 0)
    for begin in range(0, w.size, _BLOCK):
        end = min(begin + _BLOCK, w.size)
        _windows(
            w[begin:end],
            numbers,
            bins,
            index[0],
            lanes,
            windows_w,
            slopes if to_w.size else none,
            base,
            ratio,
        )
        _windows(f[begin:end], numbers, bins, index[1], lanes, windows_f, slopes_f, base, ratio)
        if to_w.size:
            _contract(flat, width, index, slopes, windows_f, to_w[begin:end])
        if to_f.size:
            _contract(flat, width, index, windows_w, slopes_f, to_f[begin:end])
        if weights.size:
            for v in range(begin, end):
                if to_w.size:
                    to_w[v] *= weights[v]
                if to_f.size:
                    to_f[v] *= weights[v]


@kernel(fastmath=frozenset({"contract", "reassoc"}))
def _contract(flat: Array, width: int, index: Array, rows: Array, columns: Array, out: Array) -> None:
    """Σ_ij rows_i G_ij columns_j at each voxel."""
    for v in range(out.size):
        first = index[0, v] * width + index[1, v]
        total = 0.0
        for j in range(_LANES):
            inner = 0.0
            for k in range(_LANES - 1):
                inner += rows[v * _LANES + k] * flat[first + k * width + j]
            total += inner * columns[v * _LANES + j]
        out[v] = total
