"""Rows about what conditions do: effects in real and in modelled hearts, what ought to be null, and control.

Real effects are those of all real hearts of test and training, which are known more precisely than those of the test
hearts alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medreg.metrics.hearts.effects import (
    Effect,
    Ratio,
    complete_rows,
    correlation,
    effects,
    predicted,
    ratios,
    usable,
)
from medreg.metrics.hearts.measures import MEASURES
from medreg.metrics.hearts.pooled_hearts import AGE, SEX, SEXES, Hearts
from medreg.metrics.hearts.pooling import Pooling
from medreg.metrics.rows import MetricRow

if TYPE_CHECKING:
    import pandas as pd

SHORT = {"age_years": "age", "height_cm": "height", "weight_kg": "weight", "sbp_mmhg": "sbp"}
LEAST_SAMPLES = 5  # hearts of one case whose mean says what the case was given


@dataclass(frozen=True)
class Control:
    """An effect that the stand-in population does not have, so that a model must not show it.

    Attributes:
        measure: that must not change.
        condition: with which.
        sex: of the people, None for all.
        range: told over the whole range of the condition, not over a step.
    """

    measure: str
    condition: str
    sex: str | None
    range: bool

    @property
    def name(self) -> str:
        """Such as rvedv_ml_by_sbp."""
        return f"{self.measure}_by_{short(self.condition)}{f'_{self.sex}' if self.sex else ''}"


CONTROLS = (
    Control("rvedv_ml", "sbp_mmhg", None, range=False),
    Control("rvesv_ml", "sbp_mmhg", None, range=False),
    Control("lvm_g", AGE, "female", range=True),
)


def short(condition: str) -> str:
    """Return how a condition is called in names of metrics."""
    return SHORT.get(condition, condition)


def effect_rows(hearts: Hearts, modelled: pd.DataFrame, pooling: Pooling) -> Iterator[MetricRow]:
    """Yield effects with their intervals, in the unit of the measure per step, and their shares of the real ones.

    `effect_NAME` is modelled, `effect_NAME_real` real, both with `_se`, `_low` and `_high`; `effect_NAME_percent` is
    the modelled as a share of the real one, with the interval of a bootstrap over cases. `difference_sex…` is men less
    women as they are, without the other conditions.

    Args:
        hearts: all of them.
        modelled: those whose effects are compared with real ones.
        pooling: numbers that it needs.
    """
    real = hearts.every_real
    names = [name for name in usable(real, pooling.steps) if name in usable(modelled, pooling.steps)]
    yield from _of_conditions(real, modelled, hearts.measures, names, pooling, "effect_")
    if SEX in names:
        yield from _of_conditions(real, modelled, hearts.measures, [SEX], pooling, "difference_")
    yield from _controls(real, modelled, names, pooling)
    yield from _controllability(hearts, modelled, names, pooling)


def _of_conditions(
    real: pd.DataFrame,
    modelled: pd.DataFrame,
    measures: list[str],
    names: list[str],
    pooling: Pooling,
    prefix: str,
) -> Iterator[MetricRow]:
    ours, theirs = (effects(frame, measures, names, pooling.steps) for frame in (modelled, real))
    shares = ratios(
        real, modelled, measures, names, pooling.steps, resamples=pooling.resamples, seed=pooling.seed
    )
    for measure in measures:
        for name in names:
            metric = f"{prefix}{short(name)}"
            for found, end in ((ours, ""), (theirs, "_real")):
                if measure in found:
                    yield from _effect(measure, f"{metric}{end}", found[measure][name])
            if measure in shares:
                yield from _share(measure, metric, shares[measure][name])


def _effect(measure: str, metric: str, found: Effect) -> Iterator[MetricRow]:
    unit = MEASURES[measure]
    yield MetricRow(measure, metric, found.value, unit)
    for end in ("se", "low", "high"):
        yield MetricRow(measure, f"{metric}_{end}", getattr(found, end), unit)


def _share(measure: str, metric: str, found: Ratio) -> Iterator[MetricRow]:
    for end, value in (("", found.value), ("_low", found.low), ("_high", found.high)):
        yield MetricRow(measure, f"{metric}{end}_percent", 100.0 * value, "%")


def _controls(
    real: pd.DataFrame, modelled: pd.DataFrame, names: list[str], pooling: Pooling
) -> Iterator[MetricRow]:
    """Yield effects that ought to be null, in per cent of the mean of the measure; those of real hearts beside."""
    for control in (each for each in CONTROLS if each.condition in names):
        extent = np.ptp(real[control.condition].dropna()) / pooling.steps[control.condition]
        times = float(extent) if control.range else 1.0
        for frame, end in ((modelled, ""), (real, "_real")):
            chosen = (
                frame
                if control.sex is None
                else frame[frame[SEX] == SEXES[control.sex]]
                if SEX in frame
                else frame[:0]
            )
            others = [name for name in names if name != SEX or control.sex is None]
            found = effects(chosen, [control.measure], others, pooling.steps).get(control.measure)
            usual = float(chosen[control.measure].mean()) if found is not None else 0.0
            if found is None or not usual:  # too few hearts, or none that shows the structure
                continue
            factor = 100.0 * times / usual
            effect = found[control.condition]
            for part, value in (("", effect.value), ("_low", effect.low), ("_high", effect.high)):
                yield MetricRow(control.name, f"control{end}{part}_percent", factor * value, "%")


def _controllability(
    hearts: Hearts, modelled: pd.DataFrame, names: list[str], pooling: Pooling
) -> Iterator[MetricRow]:
    """Yield how well hearts follow what was asked: measured against what the regression of real hearts says.

    `controllability` correlates means over the hearts of each case, in which what the conditions leave open is averaged
    away. `controllability_single` correlates single hearts, of which `controllability_real` is what real ones reach.
    """
    for measure in hearts.measures:
        asked = predicted(hearts.every_real, modelled, measure, names, pooling.steps)
        if asked is None:
            continue
        table = modelled[["case", measure]].assign(asked=asked)
        yield MetricRow(measure, "controllability_single", _agreement(table, measure), "1")
        counts = table.groupby("case")["asked"].transform("size")
        means = table[counts >= LEAST_SAMPLES].groupby("case")[[measure, "asked"]].mean()
        yield MetricRow(measure, "controllability", _agreement(means, measure), "1")
        of_real = predicted(hearts.every_real, hearts.real, measure, names, pooling.steps)
        known = hearts.real[[measure]].assign(asked=of_real)
        yield MetricRow(measure, "controllability_real", _agreement(known, measure), "1")


def _agreement(table: pd.DataFrame, measure: str) -> float:
    if table.empty:
        return math.nan
    known = complete_rows(table, [measure, "asked"])
    return correlation(known["asked"].to_numpy(dtype=float), known[measure].to_numpy(dtype=float))
