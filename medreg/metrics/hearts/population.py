"""Rows about all hearts of an evaluation together: the case `population` of results.csv."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import TYPE_CHECKING

from medreg.metrics.hearts.ageing_rows import ageing_rows, judge_rows, translated
from medreg.metrics.hearts.cycle_rows import cycle_rows
from medreg.metrics.hearts.distribution_rows import distribution_rows
from medreg.metrics.hearts.effect_rows import effect_rows
from medreg.metrics.hearts.memorisation import Memorisation
from medreg.metrics.hearts.pooled_hearts import Hearts
from medreg.metrics.hearts.pooling import Pooling
from medreg.metrics.hearts.sources import GENERATED
from medreg.metrics.hearts.two_sample import two_sample
from medreg.metrics.hearts.visit_rows import visit_rows
from medreg.metrics.rows import MetricRow

if TYPE_CHECKING:
    import pandas as pd


def pooled_rows(frame: pd.DataFrame, pooling: Pooling) -> list[MetricRow]:
    """Return what real and modelled hearts are like as populations; nothing without modelled or real hearts.

    New hearts (`generated`) are compared with real ones; of a model that makes none, those that were brought to every
    age group. The order of the rows of the table does not matter.

    Args:
        frame: a row a heart, see `sources`; with `real_training` hearts, real effects are known more precisely.
        pooling: numbers that it needs.

    Raises:
        DataError: the table lacks a column.
    """
    if frame.empty:
        return []
    hearts = Hearts(frame)
    new = hearts.of(GENERATED)
    modelled = translated(hearts) if new.empty else new
    rows: list[MetricRow] = []
    if len(modelled) and len(hearts.real):
        rows += distribution_rows(hearts, modelled, pooling)
        rows += cycle_rows(hearts, modelled)
        rows += effect_rows(hearts, modelled, pooling)
        rows += _two_sample_rows(hearts, new, pooling)
    rows += ageing_rows(hearts, pooling)
    rows += visit_rows(hearts, pooling)
    if len(modelled):
        rows += judge_rows(hearts)
    return rows


def _two_sample_rows(hearts: Hearts, new: pd.DataFrame, pooling: Pooling) -> Iterator[MetricRow]:
    if new.empty:
        return
    found = two_sample(
        hearts.real, new, folds=pooling.folds, repeats=pooling.repeats, trees=pooling.trees, seed=pooling.seed
    )
    if found is None:
        return
    told = {
        "accuracy": found.accuracy, "forest": found.forest, "linear": found.linear, "low": found.low,
        "high": found.high,
    }  # fmt: skip
    for name, value in told.items():
        yield MetricRow("all", f"two_sample_{name}", value, "1")


def memorisation_rows(found: Memorisation | None) -> Iterator[MetricRow]:
    """Yield a row of every number; nothing where nothing could be compared."""
    if found is None:
        return
    for each in fields(found):
        unit = "%" if each.name.endswith("_percent") else "1"
        yield MetricRow("all", f"memorisation_{each.name}", float(getattr(found, each.name)), unit)
