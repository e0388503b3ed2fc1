"""Monte-Carlo standard errors: voxels of one case depend on one another, so that only cases count as independent."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from medreg.metrics.uncertainty.intervals import LEVELS, Numbers

DRAWS = 1000


class Estimate(NamedTuple):
    """A number, its standard error over cases, and how many there were."""

    value: float
    error: float
    n: int


def mean_over_cases(values: Numbers) -> Estimate:
    """Mean of one number a case and its standard error SD/√n; NaN (undefined for a case) is left out."""
    known = np.asarray(values, dtype=np.float64)
    known = known[~np.isnan(known)]
    n = len(known)
    error = float(known.std(ddof=1) / math.sqrt(n)) if n > 1 and np.isfinite(known).all() else math.nan
    return Estimate(float(known.mean()) if n else math.nan, error, n)


def resampled(
    statistic: Callable[[Numbers], float | Numbers], counts: Numbers, *, draws: int = DRAWS, seed: int = 0
) -> Numbers:
    """Values of a statistic of pooled counts when whole cases are drawn again, (draws, …).

    Args:
        statistic: of counts summed over cases (…), a number or an array.
        counts: (cases, …) counts of each case.
        draws: number of draws.
        seed: of the draws: counts of several methods drawn with one seed are drawn in the same cases.

    Source: B. Efron and R. Tibshirani, An Introduction to the Bootstrap, 1993, chapter 6.
    """
    n = len(counts)
    weights = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=draws)
    return np.stack([np.asarray(statistic(np.tensordot(w, counts, axes=1))) for w in weights])


def bootstrap(
    statistic: Callable[[Numbers], float | Numbers], counts: Numbers, *, draws: int = DRAWS, seed: int = 0
) -> tuple[Numbers, Numbers]:
    """Value of a statistic of pooled counts and its standard error over cases, as `resampled`.

    Returns:
        the statistic of all cases and its error, of the same shape; NaN for fewer than two cases or infinite counts.
    """
    value = np.asarray(statistic(counts.sum(0)), dtype=np.float64)
    if len(counts) < 2 or not np.isfinite(counts).all():
        return value, np.full_like(value, math.nan)
    return value, resampled(statistic, counts, draws=draws, seed=seed).std(axis=0, ddof=1)


def floor_of_error(share_error: Numbers, levels: Numbers = LEVELS) -> float:
    """Calibration error that a perfect prediction would show by chance, mean over levels of √(2/π)·SE(coverage).

    The mean of absolute differences cannot be zero for finitely many cases; an error near this number is none.

    Args:
        share_error: (L,) standard errors of the coverage.
        levels: their levels.
    """
    assert len(share_error) == len(levels)
    return float(math.sqrt(2 / math.pi) * np.mean(share_error))
