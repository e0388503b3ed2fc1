"""Whether a difference between two methods on the same cases is more than chance, and how large it is."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medreg.reporting.cells import number
from medreg.reporting.views import Array
from medreg.reporting.vocabulary import describe, heading

RESAMPLES = 5000


@dataclass(frozen=True)
class Interval:
    """A mean with a bootstrap confidence interval."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class PairedTest:
    """Two methods compared on the same cases: `difference` is method minus reference.

    Attributes:
        metric: Name of the metric.
        unit: Its unit.
        method: The method.
        reference: What it is compared with.
        difference: Mean of the paired differences with its 95 % bootstrap interval.
        p: Two-sided Wilcoxon signed-rank p value; NaN for fewer than six cases, which cannot reach 0.05.
        better: Share of cases in which the method is better, NaN where no direction is better.
    """

    metric: str
    unit: str
    method: str
    reference: str
    difference: Interval
    p: float
    better: float

    def sentence(self) -> str:
        """The comparison in words, for the foot of a table."""
        decimals = describe(self.metric).decimals
        d = self.difference
        mean, low, high = (number(value, decimals, sign=True) for value in (d.mean, d.low, d.high))
        text = f"{heading(self.metric, self.unit)}: {self.method} − {self.reference} = {mean}"
        if np.isfinite(d.low):
            text += f" (95 % CI {low} to {high})"
        text += f", n = {d.n}"
        if np.isfinite(self.better):
            text += f", better in {round(self.better * d.n)} of {d.n}"
        return text + (f", {p_value(self.p)}" if np.isfinite(self.p) else "")


def p_value(p: float) -> str:
    """A p value as it is printed: "p = 0.031" or "p < 0.001"."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def bootstrap_mean(
    values: Array, *, confidence: float = 0.95, seed: int = 0, resamples: int = RESAMPLES
) -> Interval:
    """Mean with the percentile bootstrap interval over cases; NaN bounds for fewer than two values.

    Args:
        values: (n,) numbers; NaN and infinity are left out.
        confidence: Coverage of the interval.
        seed: Seed of the resampling, so that a table is the same every time.
        resamples: Number of draws.

    Source: B. Efron and R. Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    finite = np.asarray(values, dtype=float)
    finite = finite[np.isfinite(finite)]
    n = len(finite)
    if n < 2:
        return Interval(float(finite[0]) if n else float("nan"), float("nan"), float("nan"), n)
    from scipy.stats import bootstrap

    found = bootstrap(
        (finite,), np.mean, n_resamples=resamples, confidence_level=confidence, method="percentile", rng=seed
    ).confidence_interval
    return Interval(float(finite.mean()), float(found.low), float(found.high), n)


def t_interval(values: Array, *, confidence: float = 0.95) -> Interval:
    """Mean with the interval of Student's t, for numbers too few to be drawn again, such as those of three seeds.

    Args:
        values: (n,) numbers, n ≥ 2, all finite.
        confidence: Coverage of the interval.
    """
    from scipy.stats import t

    numbers = np.asarray(values, dtype=float)
    n, mean = len(numbers), float(numbers.mean())
    half = float(t.ppf((1 + confidence) / 2, n - 1) * numbers.std(ddof=1) / np.sqrt(n))
    return Interval(mean, mean - half, mean + half, n)


def welch(first: Array, second: Array) -> float:
    """Two-sided p value of Welch's t-test of two independent samples, such as the means of seeds; NaN below two each.

    Source: B. L. Welch, Biometrika 34, 1947.
    """
    from scipy.stats import ttest_ind

    one, two = (np.asarray(v, dtype=float)[np.isfinite(v)] for v in (first, second))
    if min(len(one), len(two)) < 2:
        return float("nan")
    if max(np.ptp(one), np.ptp(two)) <= 1e-12 * max(abs(one).max(), abs(two).max()):  # no spread: not defined
        return float("nan")
    with warnings.catch_warnings():  # one of the two may be without spread
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(ttest_ind(one, two, equal_var=False).pvalue)


def corrected(p_values: Sequence[float]) -> list[float]:
    """P values corrected for their number by Holm's step-down method; NaN stays and does not count.

    Source: S. Holm, Scandinavian Journal of Statistics 6, 1979.
    """
    values = np.asarray(p_values, dtype=float)
    finite = np.isfinite(values)
    if finite.any():
        from statsmodels.stats.multitest import multipletests

        values[finite] = multipletests(values[finite], method="holm")[1]
    return [float(value) for value in values]


def wilcoxon(differences: Array) -> float:
    """Two-sided p value of the Wilcoxon signed-rank test; NaN for fewer than six pairs, 1 if all are equal.

    Source: F. Wilcoxon, Biometrics Bulletin 1(6), 1945; zero differences ranked as by Pratt (1959).
    """
    finite: NDArray[np.float64] = differences[np.isfinite(differences)].astype(np.float64)
    if len(finite) < 6:
        return float("nan")
    if not np.any(finite):
        return 1.0
    from scipy.stats import wilcoxon as signed_rank

    exact = len(finite) <= 50 and _untied(finite)
    method: Literal["exact", "approx"] = "exact" if exact else "approx"
    return float(signed_rank(finite, zero_method="pratt", method=method).pvalue)


def compare(
    results: pd.DataFrame, *, metric: str, structure: str, method: str, reference: str
) -> PairedTest | None:
    """Compare two methods on the cases that both have; None if there is no such case.

    Args:
        results: Rows with the columns of results.csv, of one data set and split.
        metric: Metric to compare.
        structure: Structure to compare, such as "mean".
        method: The method.
        reference: What to compare it with.
    """
    rows = results[(results["metric"] == metric) & (results["structure"] == structure)]
    columns = {
        name: rows[rows["method"] == name].groupby("case")["value"].mean() for name in (method, reference)
    }
    both = pd.concat(columns, axis=1, join="inner").replace([np.inf, -np.inf], np.nan).dropna()
    if both.empty:
        return None
    differences = (both[method] - both[reference]).to_numpy(dtype=float)
    direction = {"higher": 1.0, "lower": -1.0, "neither": float("nan")}[describe(metric).better]
    better = float(np.mean(differences * direction > 0)) if np.isfinite(direction) else float("nan")
    unit = str(rows["unit"].iloc[0])
    return PairedTest(
        metric, unit, method, reference, bootstrap_mean(differences), wilcoxon(differences), better
    )


def _untied(values: Array) -> bool:
    sizes = np.abs(values)
    return len(np.unique(sizes)) == len(sizes) and bool(np.all(sizes > 0))
