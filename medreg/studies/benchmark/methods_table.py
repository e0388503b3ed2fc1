"""Tables of a benchmark: every method with its scores and costs, and whether the differences are more than chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from medreg.reporting.cells import NONE, number
from medreg.reporting.statistics import compare, p_value
from medreg.reporting.tables import (
    Cell,
    Table,
    lookup,
    metric_cells,
    metrics_to_show,
    overall_structure,
    unit_of,
    with_means,
)
from medreg.reporting.vocabulary import COST, describe, heading


@dataclass(frozen=True)
class Standing:
    """Place of a method in a ranking.

    Attributes:
        place: 1 is best.
        score: rank score in [0.1, 1].
        worst: metric → mean over the 30 % items that were worst before registration.
    """

    place: int
    score: float
    worst: Mapping[str, float]


def shown_metrics(results: pd.DataFrame) -> list[str]:
    """Metrics of the main table, in printing order: those that speak for a whole case."""
    full = with_means(results)
    return [name for name in metrics_to_show(full) if overall_structure(full, name) is not None]


def alignment_metrics(results: pd.DataFrame) -> list[str]:
    """Metrics in which methods are tested against each other."""
    return [m for m in shown_metrics(results) if m not in COST and describe(m).better != "neither"]


def methods_table(
    results: pd.DataFrame,
    *,
    methods: Sequence[str],
    titles: Mapping[str, str],
    standings: Mapping[str, Standing],
    title: str,
    notes: Sequence[str] = (),
) -> Table:
    """One row a method in the given order: place, rank score, mean ± SD of every metric, the 30 % worst, costs.

    Args:
        results: rows with the columns of results.csv.
        methods: order of the rows.
        titles: method → what it is called in print.
        standings: method → place; empty where there is no ranking.
        title: heading.
        notes: sentences below.
    """
    full = with_means(results)
    metrics, summary = shown_metrics(results), lookup(full)
    worst = sorted({name for standing in standings.values() for name in standing.worst})
    header = ["method", *(("#", "score") if standings else ())]
    columns: list[list[Cell]] = []
    for metric in metrics:
        header.append(heading(metric, unit_of(full, metric)))
        structure = str(overall_structure(full, metric))
        keys = [(method, structure, metric) for method in methods]
        columns.append(metric_cells(summary, keys, metric, median=False))
        if worst and metric not in COST:
            more, hardest = _worst(metric, worst, methods, standings)
            header += more
            columns += hardest
    rows = []
    for k, method in enumerate(methods):
        placed = _place(standings.get(method)) if standings else []
        rows.append((Cell(titles.get(method, method)), *placed, *(column[k] for column in columns)))
    counts = full.groupby("method")["case"].nunique()
    told = ", ".join(f"{titles.get(m, m)} {counts[m]}" for m in methods if counts[m] != counts.max())
    first = f"Mean ± SD over {counts.max()} cases" + (f" (but {told})." if told else ".")
    return Table(title, tuple(header), tuple(rows), (first, *notes))


def significance_table(
    results: pd.DataFrame,
    *,
    metric: str,
    methods: Sequence[str],
    titles: Mapping[str, str],
    reference: str | None,
) -> Table:
    """One row a method: paired difference to the best method and to the unregistered state, in one metric.

    Args:
        results: rows with the columns of results.csv.
        metric: the metric.
        methods: order of the rows.
        titles: method → what it is called in print.
        reference: the unregistered state, None where nobody is.
    """
    full = with_means(results)
    structure = str(overall_structure(full, metric))
    best = best_method(results, metric=metric, methods=methods)
    others = [("best", best), *([("identity", reference)] if reference is not None else [])]
    header = ["method"]
    for name, other in others:
        header += [f"− {titles.get(str(other), str(other))} ({name})", "p", "better in"]
    rows = []
    for method in methods:
        cells = [Cell(titles.get(method, method), bold=method == best)]
        for _, other in others:
            cells += _compared(full, metric, structure, method, str(other))
        rows.append(tuple(cells))
    notes = (
        "Mean of the paired differences with its 95 % bootstrap interval; two-sided Wilcoxon signed-rank test over "
        "cases (six or more), not corrected for the number of tests.",
        "Pairs that share an image are not independent: with all ordered pairs the tests are too optimistic.",
    )
    return Table(heading(metric, unit_of(full, metric)), tuple(header), tuple(rows), notes)


def best_method(results: pd.DataFrame, *, metric: str, methods: Sequence[str]) -> str:
    """The method with the best mean of a metric."""
    means = _means(with_means(results), metric).reindex(list(methods))
    return str(means.idxmax() if describe(metric).better == "higher" else means.idxmin())


def _means(full: pd.DataFrame, metric: str) -> pd.Series:
    rows = full[(full["metric"] == metric) & (full["structure"] == overall_structure(full, metric))]
    finite = rows[np.isfinite(rows["value"])]
    return finite.groupby("method")["value"].mean()


# Which factor of the ranking is the 30 % of which metric.
_WORST_OF = {"dice": "DSC30", "tre_mm": "TRE_lm30"}


def _worst(
    metric: str, known: Sequence[str], methods: Sequence[str], standings: Mapping[str, Standing]
) -> tuple[list[str], list[list[Cell]]]:
    name = _WORST_OF.get(metric, "")
    if name not in known:
        return [], []
    decimals = describe(metric).decimals
    values = [standings[m].worst.get(name, np.nan) if m in standings else np.nan for m in methods]
    cells = [Cell(number(value, decimals)) for value in values]
    return [f"{describe(metric).label}, 30 % worst"], [cells]


def _place(standing: Standing | None) -> list[Cell]:
    if standing is None:
        return [Cell(NONE), Cell(NONE)]
    return [Cell(str(standing.place), bold=standing.place == 1), Cell(f"{standing.score:.3f}")]


def _compared(full: pd.DataFrame, metric: str, structure: str, method: str, other: str) -> list[Cell]:
    if method == other:
        return [Cell(NONE)] * 3
    test = compare(full, metric=metric, structure=structure, method=method, reference=other)
    if test is None:
        return [Cell(NONE)] * 3
    decimals, found = describe(metric).decimals, test.difference
    mean, low, high = (number(value, decimals, sign=True) for value in (found.mean, found.low, found.high))
    text = f"{mean} ({low} to {high})" if np.isfinite(found.low) else mean
    chance = p_value(test.p).removeprefix("p ").removeprefix("= ") if np.isfinite(test.p) else "–"
    return [Cell(text), Cell(chance), Cell(f"{round(test.better * found.n)} of {found.n}")]
