"""How a measure of similarity behaves along one parameter of motion, the truth being at 0."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def far_field_fraction(values: ArrayLike, measure: ArrayLike) -> float:
    """Share of the rise that lies beyond a third of the way: FFF = (D(end) − D(end/3)) / (D(end) − D(0)).

    Mean over both signs. Near 1 the measure still tells far from farther, near 0 it is flat far away; 2/3 for a
    measure that grows in proportion (ours). Values between samples are interpolated.

    Args:
        values: (V,) ascending parameter values on both sides of 0.
        measure: (V,) D at these values, lower is better.

    Returns:
        The fraction; NaN where D is no higher at one of the ends than at 0, since there is no rise to share.
    """
    x, y = np.asarray(values, dtype=np.float64), np.asarray(measure, dtype=np.float64)
    start = np.interp(0.0, x, y)
    shares = []
    for end in (x[0], x[-1]):
        far, third = np.interp(end, x, y), np.interp(end / 3, x, y)
        shares.append((far - third) / (far - start) if far > start else np.nan)
    return float(np.mean(shares))


def lowest(values: Array, measure: Array) -> float:
    """Parameter value at which the measure is smallest: its bias."""
    return float(values[int(np.argmin(measure))])


def monotony(values: Array, measure: Array) -> float:
    """Spearman correlation of the measure with |value|: 1 if it rises all the way on both sides alike."""
    ranks = [_ranks(np.abs(values)), _ranks(measure)]
    return correlation(*ranks)


def correlation(first: Array, second: Array) -> float:
    """Pearson correlation; NaN where one of the two is constant."""
    x, y = first - first.mean(), second - second.mean()
    scale = float(np.sqrt((x**2).sum() * (y**2).sum()))
    return float((x * y).sum() / scale) if scale > 0 else float("nan")


def _ranks(values: Array) -> Array:
    """Ranks from 0; equal values, to nine decimals, share their mean rank."""
    _, inverse, counts = np.unique(np.round(values, 9), return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts + 1) / 2
    return middle[inverse]
