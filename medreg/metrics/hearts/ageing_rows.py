"""Rows about hearts made older or younger: direction and size of the change, identity, and how old they look."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from medreg.metrics.hearts.age_judge import AgeJudge, mean_spearman, within_one_group
from medreg.metrics.hearts.effects import correlation, effects
from medreg.metrics.hearts.measures import MEASURES, FloatArray
from medreg.metrics.hearts.pooled_hearts import AGE, GROUP, GROUPS, Hearts, by_sex
from medreg.metrics.hearts.pooling import Pooling
from medreg.metrics.hearts.sources import (
    AGED,
    GAP,
    GENERATED,
    REAL,
    REAL_TRAINING,
    RECONSTRUCTED,
    TO_AGE,
    TO_GROUP,
)
from medreg.metrics.rows import MetricRow

if TYPE_CHECKING:
    import pandas as pd


def translated(hearts: Hearts) -> pd.DataFrame:
    """Return the hearts that were brought to every age group, at the age and in the group that they were given."""
    found = hearts.of(AGED)
    if TO_GROUP not in found:
        return found[:0]
    chosen = (
        found[found[TO_GROUP].notna() & found[GAP].isna()] if GAP in found else found[found[TO_GROUP].notna()]
    )
    ages = chosen.get(TO_AGE, np.nan)
    return chosen.assign(**{GROUP: chosen[TO_GROUP], AGE: ages})


def ageing_rows(hearts: Hearts, pooling: Pooling) -> Iterator[MetricRow]:
    """Yield rows of the hearts that were brought to every age group; nothing where there are none."""
    moved = translated(hearts)
    if moved.empty:
        return
    for measure in hearts.measures:
        yield from _slopes(hearts, moved, measure, pooling)
        yield from _identity(hearts, moved, measure)
    yield from _pose(hearts, moved)


def _slopes(hearts: Hearts, moved: pd.DataFrame, measure: str, pooling: Pooling) -> Iterator[MetricRow]:
    """Yield by sex: slopes per step of age, their share of the real ones, the change from the first to the last group.

    `ageing_slope_SEX` is the mean over people of the slope of their own heart; `ageing_slope_real_SEX` the difference
    between real people of different age and the same sex (test and training); `ageing_inversions_SEX` counts the steps
    from group to group against the direction of the whole change.
    """
    step, unit = pooling.steps.get(AGE, 10.0), MEASURES[measure]
    real = dict(by_sex(hearts.every_real))
    for sex, own in by_sex(moved):
        means = own.groupby(GROUP)[measure].mean().sort_index()
        slope = _own_slope(own, measure) * step
        if not math.isfinite(slope) or len(means) < 2:
            continue
        yield MetricRow(measure, f"ageing_slope_{sex}", slope, unit)
        known = effects(real[sex], [measure], [AGE], {AGE: step}).get(measure) if sex in real else None
        if known is not None:
            effect = known[AGE]
            for end, value in (("", effect.value), ("_low", effect.low), ("_high", effect.high)):
                yield MetricRow(measure, f"ageing_slope_real_{sex}{end}", value, unit)
            share = 100.0 * slope / effect.value if effect.value else math.nan
            yield MetricRow(measure, f"ageing_slope_{sex}_percent", share, "%")
        change, base = float(means.iloc[-1] - means.iloc[0]), float(means.iloc[0])
        yield MetricRow(measure, f"ageing_change_{sex}", change, unit)
        yield MetricRow(
            measure, f"ageing_change_{sex}_percent", 100.0 * change / base if base else math.nan, "%"
        )
        against = int((np.sign(change) * np.diff(means.to_numpy()) < 0).sum())
        yield MetricRow(measure, f"ageing_inversions_{sex}", float(against), "1")


def _own_slope(moved: pd.DataFrame, measure: str) -> float:
    """Return the slope of a measure on age within people, per year."""
    parts = [moved[name] - moved.groupby("case")[name].transform("mean") for name in (AGE, measure)]
    age, value = (part.to_numpy(dtype=float) for part in parts)
    known = np.isfinite(age) & np.isfinite(value)
    square = float((age[known] ** 2).sum())
    return float((age[known] * value[known]).sum()) / square if square else math.nan


def _identity(hearts: Hearts, moved: pd.DataFrame, measure: str) -> Iterator[MetricRow]:
    """Yield Pearson's correlations across people of one sex.

    `identity_r_SEX`: of the heart as the model gives it back and the same heart in another group, mean over groups;
    `identity_r_least_SEX` the least of them; `reconstruction_r_SEX`: of the real heart and the one given back.
    """
    back = _by_case(hearts.of(RECONSTRUCTED), measure)
    real = _by_case(hearts.of(REAL), measure)
    for sex, own in by_sex(moved):
        cases = sorted(set(own["case"]))
        given = _aligned(back, cases)
        found = []
        for _, group in own.groupby(GROUP):
            r = correlation(given, _aligned(_by_case(group, measure), cases))
            found += [r] if math.isfinite(r) else []
        if found:
            yield MetricRow(measure, f"identity_r_{sex}", float(np.mean(found)), "1")
            yield MetricRow(measure, f"identity_r_least_{sex}", min(found), "1")
        r = correlation(_aligned(real, cases), given)
        if math.isfinite(r):
            yield MetricRow(measure, f"reconstruction_r_{sex}", r, "1")


def _by_case(frame: pd.DataFrame, column: str) -> pd.Series:
    return frame.groupby("case")[column].mean()


def _aligned(values: pd.Series, cases: list[str]) -> FloatArray:
    return values.reindex(cases).to_numpy(dtype=float)


def _pose(hearts: Hearts, moved: pd.DataFrame) -> Iterator[MetricRow]:
    """Yield the median turn of the septum between a heart as it is given back and the same heart in another group."""
    column = "septal_angle_deg"
    back = hearts.of(RECONSTRUCTED)
    if column not in moved or back.empty:
        return
    first = _aligned(_by_case(back, column), moved["case"].tolist())
    turn = np.abs((moved[column].to_numpy(dtype=float) - first + 180.0) % 360.0 - 180.0)
    known = turn[np.isfinite(turn)]
    if len(known):
        yield MetricRow("all", "septal_turn_deg", float(np.median(known)), "°")


def judge_rows(hearts: Hearts) -> Iterator[MetricRow]:
    """Yield how old modelled hearts look to a regressor of real training hearts, beside real test hearts.

    `judge_spearman`: mean over people of the rank correlation with the group that their heart was brought to;
    `judge_r…`: correlation with age over hearts; `judge_within_one_percent…`: right within one group.
    """
    judge = AgeJudge.trained(hearts.of(REAL_TRAINING))
    if judge is None:
        return
    moved, real, new = translated(hearts), hearts.real, hearts.of(GENERATED)
    for frame, end in ((real, "_real"), (moved, "_aged"), (new, "_generated")):
        if frame.empty:
            continue
        ages, groups = judge.ages(frame), frame[GROUP].to_numpy(dtype=float)
        r = correlation(ages, frame[AGE].to_numpy(dtype=float))
        yield MetricRow("all", f"judge_r{end}", r, "1")
        yield MetricRow("all", f"judge_within_one_percent{end}", 100.0 * within_one_group(ages, groups), "%")
    if len(moved):
        ages = judge.ages(moved)
        rank = mean_spearman(ages, moved[GROUP].to_numpy(dtype=float), moved["case"].tolist())
        yield MetricRow("all", "judge_spearman", rank, "1")
        for group in range(GROUPS):
            own = ages[moved[GROUP].to_numpy() == group]
            if np.isfinite(own).any():
                yield MetricRow("all", f"judge_age_{group}", float(np.nanmean(own)), "years")
