"""What recalibration on validation cases would give: figures beside the raw ones, never in their place."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from medreg.metrics.uncertainty.intervals import Numbers, coverage_of_sizes
from medreg.metrics.uncertainty.over_cases import bootstrap
from medreg.metrics.uncertainty.recalibration import fit_factor, fit_levels, fit_temperature, tempered
from medreg.studies.uncertainty.counts import Cube, coverage, cube, structures
from medreg.studies.uncertainty.pooling import Figure, coverage_figures
from medreg.studies.uncertainty.reading import Method

FACTOR, LEVELS, TEMPERATURE = "SD × factor", "levels mapped", "tempered"


def recalibrated(method: Method, validation: Method, *, seed: int = 0) -> list[Figure]:
    """Figures of a method after each recalibration that its counts allow; fits are of the validation cases.

    The errors are those of the compared cases; the fit itself counts as known.

    Args:
        method: on the cases that are compared.
        validation: the same method on others.
        seed: of the bootstrap.
    """
    found = [
        *_factor(method, validation, seed),
        *_levels(method, validation, seed),
        *_temperature(method, validation, seed),
    ]
    return [figure for figure in found if not math.isnan(figure.value)]


def factor_of(validation: Method) -> float:
    """Factor of the SD fitted to validation cases; NaN without z-scores, or with an SD of zero, which none mends."""
    squares = cube(validation.counts, "squares")
    if squares is None or not np.isfinite(squares.pooled).all():
        return math.nan
    total = squares.pooled[0]
    return fit_factor(float(total[1]), float(total[0]))


def _factor(method: Method, validation: Method, seed: int) -> Iterator[Figure]:
    sizes = cube(method.counts, "size")
    factor = factor_of(validation)
    if sizes is None or math.isnan(factor):
        return
    parts = [coverage_of_sizes(case, factor) for case in sizes.values[:, :, 1]]
    values = np.stack(
        [np.stack([np.full(len(p.levels), p.total), p.covered, p.levels * p.total], -1) for p in parts]
    )
    yield from coverage_figures(method.name, FACTOR, parts[0].levels, values, seed=seed)
    squares = cube(method.counts, "squares")
    if squares is not None:
        value, error = bootstrap(lambda p: math.sqrt(p[0, 1] / p[0, 0]) / factor, squares.values, seed=seed)
        yield Figure(method.name, FACTOR, "z_rms", "all", float(value), float(error), len(squares.values))


def _levels(method: Method, validation: Method, seed: int) -> Iterator[Figure]:
    for kind, suffix in (("coverage", ""), ("coverage_ranks", "_ranks")):
        mine, theirs = cube(method.counts, kind), cube(validation.counts, kind)
        if mine is None or theirs is None:
            continue
        chart = fit_levels(coverage(theirs.positions, theirs.pooled))
        covered = [chart.applied(coverage(mine.positions, case)).covered for case in mine.values]
        values = mine.values.copy()
        values[:, :, 1] = np.stack(covered)
        yield from coverage_figures(method.name, LEVELS, mine.positions, values, suffix=suffix, seed=seed)


def _temperature(method: Method, validation: Method, seed: int) -> Iterator[Figure]:
    names = [name for name in structures(method.counts) if name in structures(validation.counts)]
    cubes = {
        name: (cube(method.counts, "reliability", name), cube(validation.counts, "reliability", name))
        for name in names
    }
    fitted = [theirs.pooled for _, theirs in cubes.values() if theirs is not None]
    if not fitted:
        return
    temperature = temperature_of_bins(np.concatenate(fitted))
    for name, (mine, _) in cubes.items():
        assert mine is not None
        value, error = bootstrap(lambda pooled: _tempered_ece(pooled, temperature), mine.values, seed=seed)
        yield Figure(
            method.name, TEMPERATURE, "label_ece", name, float(value), float(error), len(mine.values)
        )


def temperature_of_bins(bins: Numbers) -> float:
    """Temperature of ln(p/(1 − p)) fitted to bins (n, 3) of count, came true and sum of probabilities.

    A bin stands for the mean of its probabilities, which is as fine as what was kept.
    """
    kept = bins[bins[:, 0] > 0]
    mean = kept[:, 2] / kept[:, 0]
    stated = np.stack([1 - mean, mean], axis=1)
    label = np.repeat([0, 1], len(kept))
    weight = np.concatenate([kept[:, 0] - kept[:, 1], kept[:, 1]])
    return fit_temperature(np.concatenate([stated, stated]), label, weight=weight)


def _tempered_ece(pooled: Numbers, temperature: float) -> float:
    kept = pooled[pooled[:, 0] > 0]
    mean = kept[:, 2] / kept[:, 0]
    mended = tempered(np.stack([1 - mean, mean], axis=1), temperature)[:, 1]
    return float(np.abs(kept[:, 1] - mended * kept[:, 0]).sum() / kept[:, 0].sum()) if len(kept) else math.nan


def curve_of_factor(sizes: Cube, factor: float) -> Numbers:
    """(L,) coverage of all cases if the SD were multiplied by a factor."""
    return coverage_of_sizes(sizes.pooled[:, 1], factor).share
