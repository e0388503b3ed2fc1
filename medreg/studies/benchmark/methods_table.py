"""Tables of a benchmark: every method with its scores and costs, and whether the differences are more than chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from medreg.reporting.statistics import compare, p_value
from medreg.reporting.tables import Cell, Table, metrics_to_show, overall_structure, summarise, with_means
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
    metrics = shown_metrics(results)
    worst = sorted({name for standing in standings.values() for name in standing.worst})
    header = ["method", *(("#", "score") if standings else ())]
    columns: list[list[Cell]] = []
    for metric in metrics:
        header.append(heading(metric, _unit(full, metric)))
        columns.append(_spread(full, metric, methods))
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
    return Table(heading(metric, _unit(full, metric)), tuple(header), tuple(rows), notes)


def best_method(results: pd.DataFrame, *, metric: str, methods: Sequence[str]) -> str:
    """The method with the best mean of a metric."""
    means = _means(with_means(results), metric).reindex(list(methods))
    return str(means.idxmax() if describe(metric).better == "higher" else means.idxmin())


def _means(full: pd.DataFrame, metric: str) -> pd.Series:
    rows = full[(full["metric"] == metric) & (full["structure"] == overall_structure(full, metric))]
    finite = rows[np.isfinite(rows["value"])]
    return finite.groupby("method")["value"].mean()


def _spread(full: pd.DataFrame, metric: str, methods: Sequence[str]) -> list[Cell]:
    """Mean ± SD of a metric for each method, the best bold."""
    rows = full[(full["metric"] == metric) & (full["structure"] == overall_structure(full, metric))]
    summary = summarise(rows).set_index("method")
    means, spreads = (summary[name].reindex(list(methods)).astype(float) for name in ("mean", "sd"))
    decimals, better = describe(metric).decimals, describe(metric).better
    best = means.max() if better == "higher" else means.min()
    top = None if metric in COST or better == "neither" else round(float(best), decimals)
    cells = []
    for mean, sd in zip(means, spreads, strict=True):
        if not np.isfinite(mean):
            cells.append(Cell("–"))
            continue
        text = f"{mean:.{decimals}f}" + (f" ± {sd:.{decimals}f}" if np.isfinite(sd) else "")
        cells.append(Cell(text, bold=round(mean, decimals) == top))
    return cells


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
    cells = [Cell("–" if not np.isfinite(value) else f"{value:.{decimals}f}") for value in values]
    return [f"{describe(metric).label}, 30 % worst"], [cells]


def _place(standing: Standing | None) -> list[Cell]:
    if standing is None:
        return [Cell("–"), Cell("–")]
    return [Cell(str(standing.place), bold=standing.place == 1), Cell(f"{standing.score:.3f}")]


def _compared(full: pd.DataFrame, metric: str, structure: str, method: str, other: str) -> list[Cell]:
    if method == other:
        return [Cell("–")] * 3
    test = compare(full, metric=metric, structure=structure, method=method, reference=other)
    if test is None:
        return [Cell("–")] * 3
    decimals, found = describe(metric).decimals, test.difference
    text = f"{found.mean:+.{decimals}f}"
    if np.isfinite(found.low):
        text += f" ({found.low:+.{decimals}f} to {found.high:+.{decimals}f})"
    chance = p_value(test.p).removeprefix("p ").removeprefix("= ") if np.isfinite(test.p) else "–"
    return [Cell(text.replace("-", "−")), Cell(chance), Cell(f"{round(test.better * found.n)} of {found.n}")]


def _unit(full: pd.DataFrame, metric: str) -> str:
    units = pd.unique(full.loc[full["metric"] == metric, "unit"])
    return " or ".join(str(unit) for unit in units)
