"""Rows about the distributions of measures: modelled hearts against real ones, overall, by sex and by age group.

`w1` and the distances of histograms compare with the real test hearts, whose conditions the modelled hearts have. Few
test hearts are a poor sample of their own population, though: `w1_sd_floor` is the distance of the real test hearts
from the real training hearts, which no model can be asked to undercut, and `w1_sd_all` compares with all real hearts.
Names end in `_female`, `_male` and `_age_0` to `_age_6` for hearts of one kind, in `_age_mean` for the mean over ages.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from medreg.metrics.hearts.distributions import distances, finite, sd, wasserstein
from medreg.metrics.hearts.measures import MEASURES, FloatArray
from medreg.metrics.hearts.pooled_hearts import Hearts, groups_of
from medreg.metrics.hearts.pooling import Pooling
from medreg.metrics.hearts.sources import REAL_TRAINING
from medreg.metrics.rows import MetricRow, mean_of_numbers

if TYPE_CHECKING:
    import pandas as pd

MAIN = ("lvedv_ml", "lvesv_ml", "lvm_g", "rvedv_ml", "rvesv_ml", "lvef_percent")  # over which "mean" rows go


def distribution_rows(hearts: Hearts, modelled: pd.DataFrame, pooling: Pooling) -> Iterator[MetricRow]:
    """Yield rows of every measure, and of the mean over `MAIN` for numbers without a unit.

    Args:
        hearts: all of them.
        modelled: those that are compared with real ones; with an `age_group` that they were given.
        pooling: numbers that it needs.
    """
    found: dict[str, dict[str, float]] = {}
    for measure in hearts.measures:
        for metric, value, unit in _of_measure(hearts, modelled, measure, pooling):
            yield MetricRow(measure, metric, value, unit)
            if unit == "1":
                found.setdefault(metric, {})[measure] = value
    for metric, values in found.items():
        yield MetricRow("mean", metric, mean_of_numbers(values[name] for name in MAIN if name in values), "1")


def _of_measure(
    hearts: Hearts, modelled: pd.DataFrame, measure: str, pooling: Pooling
) -> Iterator[tuple[str, float, str]]:
    unit = MEASURES[measure]
    real, own = values(hearts.real, measure), values(modelled, measure)
    for word, sample in (("real", real), ("modelled", own)):
        yield f"{word}_mean", float(sample.mean()) if len(sample) else math.nan, unit
        yield f"{word}_sd", sd(sample), unit
    yield "sd_ratio", sd(own) / sd(real) if sd(real) else math.nan, "1"
    apart, spread = distances(real, own), sd(values(hearts.every_real, measure)) or math.nan
    yield "kl", apart.kl, "1"
    yield "js", apart.js, "1"
    yield "bhattacharyya", apart.bhattacharyya, "1"
    yield "w1", wasserstein(real, own), unit
    yield "w1_sd", wasserstein(real, own) / spread, "1"
    training = values(hearts.of(REAL_TRAINING), measure)
    if len(training):
        yield "w1_sd_floor", wasserstein(real, training) / spread, "1"
    yield "w1_sd_all", wasserstein(values(hearts.every_real, measure), own) / spread, "1"
    yield from _of_groups(hearts, modelled, measure, spread, pooling.least)


def _of_groups(
    hearts: Hearts, modelled: pd.DataFrame, measure: str, spread: float, least: int
) -> Iterator[tuple[str, float, str]]:
    """Yield the distances of hearts of one sex or age group, in the SD of all real hearts."""
    ours = dict(groups_of(modelled))
    for metric, frame in (("w1_sd", hearts.real), ("w1_sd_all", hearts.every_real)):
        of_age = []
        for name, real in groups_of(frame):
            one, other = values(real, measure), values(ours[name], measure) if name in ours else np.zeros(0)
            if min(len(one), len(other)) < least:
                continue
            apart = wasserstein(one, other) / spread
            yield f"{metric}_{name}", apart, "1"
            if metric == "w1_sd_all":
                yield from _histograms(one, other, name)
            of_age += [apart] if name.startswith("age_") else []
        if of_age:
            yield f"{metric}_age_mean", float(np.mean(of_age)), "1"


def _histograms(real: FloatArray, own: FloatArray, name: str) -> Iterator[tuple[str, float, str]]:
    apart = distances(real, own)
    yield f"kl_{name}", apart.kl, "1"
    yield f"js_{name}", apart.js, "1"
    yield f"bhattacharyya_{name}", apart.bhattacharyya, "1"


def values(frame: pd.DataFrame, measure: str) -> FloatArray:
    """Return the known values of a measure."""
    return finite(frame[measure].to_numpy(dtype=float))
