"""Does the uncertainty order the errors? Sparsification curves, their area, and rank correlation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from medreg.metrics.uncertainty.intervals import Numbers

FRACTIONS: Numbers = np.round(np.arange(20) * 0.05, 2)  # removed, of the curves that are kept


@dataclass(frozen=True)
class Sparsification:
    """Mean error of what is left when the most uncertain are taken away, over the mean error of all.

    Attributes:
        fractions: (F,) removed.
        curve: (F,) by the stated uncertainty.
        oracle: (F,) by the error itself, the lowest that there is.
        ause: area between curve and oracle over all fractions; 0 is a perfect order.
        ause_random: the area of an uncertainty that says nothing, whose curve is 1.
    """

    fractions: Numbers
    curve: Numbers
    oracle: Numbers
    ause: float
    ause_random: float


def sparsification(error: Numbers, uncertainty: Numbers, fractions: Numbers = FRACTIONS) -> Sparsification:
    """Sparsify errors by an uncertainty.

    Equal uncertainties stand in every order at once, so that a constant one has the area of a random one.

    Args:
        error: (n,) ≥ 0.
        uncertainty: (n,), any unit; only its order counts.
        fractions: removed, in [0, 1), where the curves are kept.

    Source: E. Ilg et al., Uncertainty estimates and multi-hypotheses networks for optical flow, ECCV 2018.
    """
    n = len(error)
    if n == 0 or not error.sum() > 0:  # nothing to order
        flat = np.full(len(fractions), math.nan)
        return Sparsification(fractions, flat, flat, math.nan, math.nan)
    mine, best = _means_of_kept(_tied_means(error, uncertainty)), _means_of_kept(np.sort(error))
    kept = np.clip(np.round(n * (1 - fractions)).astype(int), 1, n) - 1
    return Sparsification(
        fractions, mine[kept], best[kept], float((mine - best).mean()), float((1 - best).mean())
    )


def spearman(first: Numbers, second: Numbers) -> float:
    """Spearman's rank correlation; NaN where one of both does not vary."""
    from scipy.stats import rankdata

    if len(first) < 2:
        return math.nan
    one, two = (rankdata(values) for values in (first, second))
    one, two = one - one.mean(), two - two.mean()
    size = math.sqrt(float(one @ one) * float(two @ two))
    return float(one @ two) / size if size > 0 else math.nan


def _tied_means(error: Numbers, uncertainty: Numbers) -> Numbers:
    """Errors in the order of growing uncertainty, those of equal uncertainty replaced by their mean."""
    order = np.argsort(uncertainty, kind="stable")
    _, group, sizes = np.unique(uncertainty[order], return_inverse=True, return_counts=True)
    sums = np.bincount(group, weights=error[order])
    return np.asarray((sums / sizes)[group])


def _means_of_kept(ordered: Numbers) -> Numbers:
    """(n,) mean of the first 1 … n values over the mean of all."""
    means = np.cumsum(ordered) / np.arange(1, len(ordered) + 1)
    return np.asarray(means / means[-1])
