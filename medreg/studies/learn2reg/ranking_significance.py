"""Which method is significantly better than which, for all cases or for cases drawn again (bootstrap).

Both tests are computed from sums over cases, so that a draw of cases is a vector of weights: a thousand draws cost one
matrix product instead of a thousand tests.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

THRESHOLD = 0.05  # of both tests
CHUNK = 4_000_000  # numbers held at once by the signed-rank test of many draws


@dataclass(frozen=True)
class Values:
    """What all methods reached on the same items of one metric.

    Attributes:
        values: (N, K) float64, larger is better.
        cases: (K,) number of the case of each item, 0 to C − 1.
        number: C; a case may have no item.
    """

    values: NDArray[np.float64]
    cases: NDArray[np.int64]
    number: int

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Number of items of each case, (C,)."""
        return np.bincount(self.cases, minlength=self.number)

    def means(self, weights: NDArray[np.int64]) -> NDArray[np.float64]:
        """Mean of each method over the drawn items, (B, N); NaN where a draw has none."""
        items = weights @ self.sizes
        totals = np.stack([np.bincount(self.cases, row, minlength=self.number) for row in self.values])
        with np.errstate(invalid="ignore", divide="ignore"):
            return (weights @ totals.T) / items[:, None]


def better(
    items: Values, *, test: str, weights: NDArray[np.int64] | None = None, threshold: float = THRESHOLD
) -> NDArray[np.bool_]:
    """Return whether the method of the row is significantly better than that of the column.

    Args:
        items: values of all methods.
        test: "ranksums": unpaired Wilcoxon rank-sum test, two-sided, normal approximation without tie
            correction, and the sign of its statistic (the organisers' code); "signed_rank": Wilcoxon
            signed-rank test of the pairs of items, one-sided, normal approximation with tie correction, pairs
            without a difference left out (the organisers' text).
        weights: (B, C), how often each case was drawn; None is every case once.
        threshold: level of significance.

    Returns:
        (N, N), or (B, N, N) with weights.
    """
    drawn = np.ones((1, items.number), dtype=np.int64) if weights is None else weights
    number = len(items.values)
    found = np.zeros((len(drawn), number, number), dtype=bool)
    one_sided = _rank_sum if test == "ranksums" else _signed_rank
    for i in range(number):
        for j in range(i + 1, number):
            up, down = one_sided(items, i, j, drawn)
            found[:, i, j], found[:, j, i] = up < threshold, down < threshold
    return found[0] if weights is None else found


def _rank_sum(
    items: Values, i: int, j: int, weights: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two-sided p of i against j where i is larger, and where j is; 1 on the other side."""
    wins = _wins_by_case(items, i, j)
    drawn = weights.astype(np.float64)
    total = np.einsum("bc,cd,bd->b", drawn, wins, drawn, optimize=True)
    n = drawn @ items.sizes
    spread = np.sqrt(np.maximum(n * n * (2 * n + 1), 1.0) / 12)  # a draw without items decides nothing
    z = (total - n * n / 2) / spread
    p = 2 * ndtr(-np.abs(z))
    return np.where(z > 0, p, 1.0), np.where(z < 0, p, 1.0)


def _wins_by_case(items: Values, i: int, j: int) -> NDArray[np.float64]:
    """(C, C): how often an item of i in case c is above an item of j in case d; equal counts half."""
    first, second, cases = items.values[i], items.values[j], items.cases
    wins = np.empty((items.number, items.number))
    for case in range(items.number):
        ordered = np.sort(second[cases == case])
        below = np.searchsorted(ordered, first, "left") + np.searchsorted(ordered, first, "right")
        wins[:, case] = np.bincount(cases, weights=below / 2, minlength=items.number)
    return wins


def _signed_rank(
    items: Values, i: int, j: int, weights: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """One-sided p of i above j, and of j above i."""
    same = items.values[i] == items.values[j]  # two infinities differ by NaN, but they are equal
    with np.errstate(invalid="ignore"):
        difference = np.where(same, 0.0, items.values[i] - items.values[j])
    kept = difference != 0
    if not kept.any():
        return np.ones(len(weights)), np.ones(len(weights))
    size = np.abs(difference[kept])
    order = np.argsort(size, kind="stable")
    starts = np.flatnonzero(np.diff(size[order], prepend=-1.0) != 0)
    positive = (difference[kept] > 0)[order]
    cases = items.cases[kept][order]
    step = max(1, CHUNK // len(cases))
    parts = [
        _positive_rank_z(weights[k : k + step][:, cases], positive, starts)
        for k in range(0, len(weights), step)
    ]
    z = np.concatenate(parts)
    return ndtr(-z), ndtr(z)


def _positive_rank_z(
    weights: NDArray[np.int64], positive: NDArray[np.bool_], starts: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Standardised sum of the ranks of positive differences, (B,); differences ordered by size, (B, K) weights."""
    counted = weights.astype(np.float64)
    group = np.add.reduceat(counted, starts, axis=1)
    ups = np.add.reduceat(counted * positive, starts, axis=1)
    before = np.cumsum(group, axis=1) - group
    rank_sum = (ups * (before + (group + 1) / 2)).sum(axis=1)
    n = group.sum(axis=1)
    variance = n * (n + 1) * (2 * n + 1) / 24 - (group**3 - group).sum(axis=1) / 48
    with np.errstate(divide="ignore", invalid="ignore"):  # a draw of ties only decides nothing
        z = (rank_sum - n * (n + 1) / 4) / np.sqrt(variance)
    return np.where(variance > 0, z, 0.0)
