"""The figures of each method over all cases, each with its standard error."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from medreg.metrics.uncertainty.intervals import Numbers
from medreg.metrics.uncertainty.over_cases import bootstrap, floor_of_error, mean_over_cases, resampled
from medreg.metrics.uncertainty.ranks import deviation
from medreg.studies.uncertainty.counts import Cube, coverage, cube, reliability, structures
from medreg.studies.uncertainty.reading import Method

RAW = "as stated"
# Means over cases, of results.csv; everything else is pooled from counts.
MEANS = (
    "nees", "z_mean", "sharpness_mm", "crps_mm", "crps_samples_mm", "ause", "ause_random", "spearman_sd_error",
    "zero_sd_percent", "label_ece_adaptive", "label_brier", "label_nll", "label_entropy", "auroc_sd", "auroc_random",
    "auroc_gradient", "epe_mm", "dice",
)  # fmt: skip
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Figure:
    """One number of one method.

    Attributes:
        method: its name.
        form: "as stated", or how it was recalibrated.
        metric: name in the vocabulary.
        structure: "all", "mean" or a structure.
        value: over all cases.
        error: standard error over cases.
        n: number of cases.
        floor: what a perfect prediction would show by chance, NaN where that is 0 or unknown.
    """

    method: str
    form: str
    metric: str
    structure: str
    value: float
    error: float
    n: int
    floor: float = math.nan


@dataclass(frozen=True)
class Difference:
    """Calibration error of a method minus that of another on the same cases, with its bootstrap interval."""

    method: str
    reference: str
    metric: str
    value: float
    low: float
    high: float
    n: int


def figures_of(method: Method, *, seed: int = 0) -> list[Figure]:
    """Return every figure of a method as it states its uncertainty."""
    found = [
        *_of_coverage(method, seed),
        *_of_ranks(method, seed),
        *_of_labels(method, seed),
        *_means(method),
    ]
    return [figure for figure in found if not math.isnan(figure.value)]


def coverage_figures(
    name: str, form: str, levels: Numbers, values: Numbers, *, suffix: str = "", seed: int = 0
) -> Iterator[Figure]:
    """Figures of coverage.

    Args:
        name: of the method.
        form: of its uncertainty.
        levels: (L,).
        values: (cases, L, 3) counts.
        suffix: of the calibration error's name.
        seed: of the bootstrap.
    """
    n = len(values)
    _, spread = bootstrap(lambda pooled: coverage(levels, pooled).share, values, seed=seed)
    floor = floor_of_error(spread, levels)

    def figure(metric: str, statistic: Callable[[Numbers], float], floor: float = math.nan) -> Figure:
        value, error = bootstrap(statistic, values, seed=seed)
        return Figure(name, form, metric, "all", float(value), float(error), n, floor)

    yield figure(f"calibration_error{suffix}", lambda pooled: coverage(levels, pooled).error, floor)
    if not suffix:
        yield figure("coverage_bias", lambda pooled: coverage(levels, pooled).bias)
        for percent in (50, 90):
            yield figure(
                f"coverage_{percent}_percent",
                lambda pooled, level=percent / 100: 100 * coverage(levels, pooled).at(level),  # type: ignore[misc]
            )


def differences(methods: list[Method], *, seed: int = 0) -> list[Difference]:
    """Compare the calibration error of every method with that of the first, cases drawn together.

    Source of the interval: A. Davison and D. Hinkley, Bootstrap Methods and their Application, 1997, section 5.2.
    """
    found = []
    first, *others = methods
    for kind, metric in (("coverage", "calibration_error"), ("coverage_ranks", "calibration_error_ranks")):
        mine = cube(first.counts, kind)
        for other in others:
            theirs = cube(other.counts, kind)
            if mine is None or theirs is None or len(mine.values) != len(theirs.values):
                continue
            found.append(_difference(other.name, first.name, metric, theirs, mine, seed))
    return found


def _difference(method: str, reference: str, metric: str, theirs: Cube, mine: Cube, seed: int) -> Difference:
    levels, n = mine.positions, len(mine.values)

    def statistic(pooled: Numbers) -> float:
        return coverage(levels, pooled[0]).error - coverage(levels, pooled[1]).error

    both = np.stack([theirs.values, mine.values], axis=1)
    value = statistic(both.sum(0))
    if n < 2:
        return Difference(method, reference, metric, value, math.nan, math.nan, n)
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(resampled(statistic, both, seed=seed), [tail, 100 - tail])
    # Errors near 0 can only grow when cases are drawn again: the basic interval turns that bias round.
    return Difference(method, reference, metric, value, 2 * value - float(high), 2 * value - float(low), n)


def _of_coverage(method: Method, seed: int) -> Iterator[Figure]:
    for kind, suffix in (("coverage", ""), ("coverage_ranks", "_ranks")):
        found = cube(method.counts, kind)
        if found is not None:
            yield from coverage_figures(
                method.name, RAW, found.positions, found.values, suffix=suffix, seed=seed
            )
    squares = cube(method.counts, "squares")
    if squares is not None:
        value, error = bootstrap(lambda p: math.sqrt(p[0, 1] / p[0, 0]), squares.values, seed=seed)
        yield Figure(method.name, RAW, "z_rms", "all", float(value), float(error), len(squares.values))


def _of_ranks(method: Method, seed: int) -> Iterator[Figure]:
    found = cube(method.counts, "ranks")
    if found is not None:
        value, error = bootstrap(lambda pooled: deviation(pooled[:, 1]), found.values, seed=seed)
        yield Figure(method.name, RAW, "rank_deviation", "all", float(value), float(error), len(found.values))


def _of_labels(method: Method, seed: int) -> Iterator[Figure]:
    for structure in structures(method.counts):
        found = cube(method.counts, "reliability", structure)
        assert found is not None
        value, error = bootstrap(_ece, found.values, seed=seed)
        yield Figure(method.name, RAW, "label_ece", structure, float(value), float(error), len(found.values))
    top = cube(method.counts, "reliability_top")
    if top is not None:
        for metric, of_bins in (("label_ece_top", _ece), ("label_mce", _mce)):
            value, error = bootstrap(of_bins, top.values, seed=seed)
            yield Figure(method.name, RAW, metric, "all", float(value), float(error), len(top.values))


def _ece(pooled: Numbers) -> float:
    return reliability(pooled).ece


def _mce(pooled: Numbers) -> float:
    return reliability(pooled).mce


def _means(method: Method) -> Iterator[Figure]:
    overall = method.results[method.results["structure"].isin(("all", "mean"))]
    for metric in MEANS:
        rows = overall[overall["metric"] == metric]
        if not rows.empty:
            found = mean_over_cases(rows["value"].to_numpy(dtype=float))
            yield Figure(method.name, RAW, metric, str(rows["structure"].iloc[0]), *found)
