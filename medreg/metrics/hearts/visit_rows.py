"""Rows about second visits: what a model predicts of a person's later heart, against what was seen.

The predicted change is the predicted later heart less the heart as the model gives it back at the first visit, so that
what an auto-encoder blurs cancels; the real one is the later heart less the first. Rows are told of all pairs, of those
whose visits lie `long_gap_years` or more apart (`_long`), of those that stay in their age group (`_same_group`), and of
all and long pairs by sex.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from medreg.metrics.hearts.effects import correlation
from medreg.metrics.hearts.measures import MEASURES
from medreg.metrics.hearts.pooled_hearts import GROUP, SEX, SEXES, Hearts
from medreg.metrics.hearts.pooling import Pooling
from medreg.metrics.hearts.sources import AGED, GAP, LATER, REAL, RECONSTRUCTED
from medreg.metrics.rows import MetricRow

if TYPE_CHECKING:
    import pandas as pd

LEAST_SAMPLES = 5  # drawn predictions that make an interval


def visit_rows(hearts: Hearts, pooling: Pooling) -> Iterator[MetricRow]:
    """Yield rows of every measure; nothing where no second visit was predicted."""
    pairs = visit_pairs(hearts)
    if pairs.empty:
        return
    for measure in hearts.measures:
        for end, chosen in _subsets(pairs, pooling):
            yield from _changes(chosen, measure, end)
        covered = _covered(hearts, pairs, measure, pooling.interval)
        if len(covered):
            yield MetricRow(measure, "interval_coverage_percent", 100.0 * float(covered.mean()), "%")


def visit_pairs(hearts: Hearts) -> pd.DataFrame:
    """Return one row a person seen twice: gap, sex, whether the group stays, and MEASURE_SOURCE of four sources."""
    import pandas as pd

    later, aged = hearts.of(LATER), hearts.of(AGED)
    if later.empty or GAP not in later or aged[GAP].isna().all():
        return pd.DataFrame()
    predicted = aged[aged[GAP].notna()]
    first = hearts.of(REAL)
    best = predicted[predicted["sample"] == 0]
    frames = {"real": first, "back": hearts.of(RECONSTRUCTED), "aged": best, "later": later}
    columns = [
        frame.groupby("case")[hearts.measures].mean().add_suffix(f"_{word}") for word, frame in frames.items()
    ]
    told = later.groupby("case")[[name for name in (GAP, SEX, GROUP) if name in later]].first()
    begun = first.groupby("case")[[GROUP]].first().rename(columns={GROUP: "from"}) if GROUP in first else None
    found = pd.concat([told, *columns, *([] if begun is None else [begun])], axis=1).loc[told.index]
    return found[found[f"{hearts.measures[0]}_aged"].notna()]


def _subsets(pairs: pd.DataFrame, pooling: Pooling) -> Iterator[tuple[str, pd.DataFrame]]:
    long = pairs[pairs[GAP] >= pooling.long_gap_years]
    yield "", pairs
    yield "_long", long
    if SEX in pairs:
        for sex, code in SEXES.items():
            yield f"_{sex}", pairs[pairs[SEX] == code]
            yield f"_long_{sex}", long[long[SEX] == code]
    if "from" in pairs and GROUP in pairs:
        yield "_same_group", pairs[pairs["from"] == pairs[GROUP]]


def _changes(pairs: pd.DataFrame, measure: str, end: str) -> Iterator[MetricRow]:
    """Yield mean and real change, bias and absolute error of it, its correlation, and those of no change at all."""
    if pairs.empty:
        return
    unit = MEASURES[measure]
    real, back, aged, later = (
        pairs[f"{measure}_{word}"].to_numpy(dtype=float) for word in ("real", "back", "aged", "later")
    )
    change, true = aged - back, later - real
    yield MetricRow(measure, f"visit_pairs{end}", float(np.isfinite(change - true).sum()), "1")
    for metric, values in (
        ("visit_change", change), ("visit_change_real", true), ("visit_bias", change - true),
        ("visit_mae", np.abs(change - true)), ("visit_error", np.abs(aged - later)),
        ("visit_raw_bias", aged - later), ("no_change_bias", -true), ("no_change_mae", np.abs(true)),
    ):  # fmt: skip
        known = values[np.isfinite(values)]
        yield MetricRow(measure, f"{metric}{end}", float(known.mean()) if len(known) else math.nan, unit)
    yield MetricRow(measure, f"visit_r{end}", correlation(change, true), "1")


def _covered(
    hearts: Hearts, pairs: pd.DataFrame, measure: str, share: float
) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Return for each person whether the middle `share` of the drawn predictions holds what was seen."""
    aged = hearts.of(AGED)
    drawn = aged[aged[GAP].notna() & (aged["sample"] > 0)]
    counts = drawn.groupby("case")[measure].count()
    ends = [drawn.groupby("case")[measure].quantile(q) for q in ((1 - share) / 2, (1 + share) / 2)]
    cases = [case for case in pairs.index if counts.get(case, 0) >= LEAST_SAMPLES]
    low, high = (end.reindex(cases).to_numpy(dtype=float) for end in ends)
    seen = pairs.loc[cases, f"{measure}_later"].to_numpy(dtype=float)
    return np.asarray((low <= seen) & (seen <= high))
