"""From results per case to the tables that people read: mean ± SD, median, n by method and structure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from medreg.metrics.hearts.sources import POPULATION
from medreg.reporting.cells import NONE, best, number, spread
from medreg.reporting.statistics import PairedTest, compare
from medreg.reporting.vocabulary import COST, DETAILS, LOSSES, UNREGISTERED, describe, heading, in_order

Lookup: TypeAlias = Mapping[tuple[str, str, str], Mapping[Any, Any]]  # by method, structure and metric
OVERALL = ("mean", "all")  # structures that speak for the whole image, best first
SUMMARY_COLUMNS = (
    "data",
    "split",
    "method",
    "structure",
    "metric",
    "unit",
    "n",
    "missing",
    "mean",
    "sd",
    "median",
    "minimum",
    "maximum",
)


@dataclass(frozen=True)
class Cell:
    """One cell of a table: the main text, a smaller addition (the median), and whether it is the best."""

    text: str
    detail: str = ""
    bold: bool = False


@dataclass(frozen=True)
class Table:
    """A table ready to be written in any format by `medreg.reporting.formats`."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()

    @classmethod
    def of_frame(cls, frame: pd.DataFrame, text: Callable[[Any], str] = str, *, title: str = "") -> Table:
        """Return the rows of a frame, each value as the text that is made of it."""
        rows = tuple(tuple(Cell(text(value)) for value in row) for row in frame.itertuples(index=False))
        return cls(title, tuple(map(str, frame.columns)), rows)


def summarise(results: pd.DataFrame) -> pd.DataFrame:
    """Mean, SD (n − 1), median, extremes and counts over cases.

    NaN (a structure that one image lacks has no distance) is left out and counted. An infinite value, with which other
    programs mark a lost structure, makes the mean infinite: left out, it would make losing structures an advantage.

    Args:
        results: Rows with the columns of results.csv.

    Returns:
        One row for each data set, split, method, structure, metric and unit; columns `SUMMARY_COLUMNS`.
    """
    keys = list(SUMMARY_COLUMNS[:6])
    if results.empty:
        return pd.DataFrame({name: pd.Series(dtype=object) for name in SUMMARY_COLUMNS})
    rows = [(*group, *_numbers(block)) for group, block in results.groupby(keys, sort=False)["value"]]
    return pd.DataFrame(rows, columns=list(SUMMARY_COLUMNS))


def _numbers(values: pd.Series) -> tuple[int, int, float, float, float, float, float]:
    known = values[~np.isnan(values)].to_numpy(dtype=float)
    missing = len(values) - len(known)
    if not len(known):
        return 0, missing, *(float("nan"),) * 5
    spread = len(known) > 1 and bool(np.isfinite(known).all())
    sd = float(known.std(ddof=1)) if spread else float("nan")
    extremes = (float(known.min()), float(known.max()))
    return len(known), missing, float(known.mean()), sd, float(np.median(known)), *extremes


def with_means(results: pd.DataFrame) -> pd.DataFrame:
    """Add the mean over structures of each case, as structure "mean", where a metric has none and has one unit.

    What is told of all cases together has the means that it was given.
    """
    if results.empty:
        return results
    whole = set(results.loc[results["structure"].isin(OVERALL), "metric"]) | mixed_metrics(results)
    single = of_cases(results[~results["metric"].isin(whole)])
    if single.empty:
        return results
    keys = [name for name in results.columns if name not in ("structure", "value")]
    means = single.groupby(keys, sort=False, as_index=False)["value"].mean()
    return pd.concat([results, means.assign(structure="mean")], ignore_index=True)[list(results.columns)]


def mixed_metrics(results: pd.DataFrame) -> set[str]:
    """The metrics that are told in several units, such as errors of clinical measures: they have no mean."""
    units = results.groupby("metric")["unit"].nunique()
    return {str(name) for name in units.index[units > 1]}


def methods_in(results: pd.DataFrame) -> list[str]:
    """The methods in order of appearance, the unregistered state first."""
    found = [str(method) for method in pd.unique(results["method"])]
    return sorted(found, key=lambda method: method != UNREGISTERED)


def main_method(results: pd.DataFrame) -> str | None:
    """The method that a run is about: that of what is told of all cases together, else the last and most refined one.

    None where there are no results.
    """
    whole = (
        results.loc[results["case"] == POPULATION, "method"] if not results.empty else pd.Series(dtype=str)
    )
    if len(whole):
        return str(whole.iloc[-1])
    return methods_in(results)[-1] if not results.empty else None


def overall_structure(results: pd.DataFrame, metric: str) -> str | None:
    """The structure that speaks for the whole image in a metric: "mean", else "all", else None."""
    present = set(results.loc[results["metric"] == metric, "structure"])
    return next((name for name in OVERALL if name in present), None)


def of_cases(results: pd.DataFrame) -> pd.DataFrame:
    """The rows of single cases, without those of all cases together (the case `population`)."""
    return results[results["case"] != POPULATION] if not results.empty else results


def metrics_to_show(results: pd.DataFrame) -> list[str]:
    """The metrics in printing order, without counts of losses where nothing was lost."""
    quiet = {name for name in LOSSES if not (results.loc[results["metric"] == name, "value"] != 0).any()}
    return in_order({str(metric) for metric in results["metric"]} - quiet)


def structure_metrics(results: pd.DataFrame) -> list[str]:
    """The metrics that come per structure, in printing order."""
    return metrics_to_show(results[~results["structure"].isin(OVERALL)])


def by_split(results: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Results of each data set and split, headed such as "acdc, test"; without what was pooled over cases."""
    if not results.empty:
        for (data, split), rows in of_cases(results).groupby(["data", "split"], sort=False):
            yield ", ".join(str(word) for word in (data, split) if word) or "results", rows


def split_tables(rows: pd.DataFrame, *, title: str = "", tests: bool = True) -> list[Table]:
    """The summary of one data set and split (`headline`), and a table for every metric that comes per structure."""
    summary = headline(rows, title=title, tests=tests)
    return [summary, *(by_structure(rows, metric=metric) for metric in structure_metrics(rows))]


def headline(results: pd.DataFrame, *, title: str = "", tests: bool = True) -> Table:
    """One row a method, one column a metric, over the whole image: the table that answers "did it work?".

    Args:
        results: Rows of one data set and split.
        title: Title of the table.
        tests: Whether to add paired tests against the unregistered state (else the first method) as notes.
    """
    full = with_means(results)
    methods = methods_in(full) if not full.empty else []
    shown = [metric for metric in metrics_to_show(full) if metric not in DETAILS]
    found = {metric: overall_structure(full, metric) for metric in shown}
    columns = {metric: structure for metric, structure in found.items() if structure is not None}
    summary = lookup(full)
    cells = [
        metric_cells(summary, [(method, str(structure), metric) for method in methods], metric)
        for metric, structure in columns.items()
    ]
    header = ["method", *(heading(metric, unit_of(full, metric)) for metric in columns)]
    rows = [(Cell(method), *(column[i] for column in cells)) for i, method in enumerate(methods)]
    notes = [f"Mean ± SD, median below; n = {full['case'].nunique()} cases."] if rows else []
    notes += _missing_note(summary, [(str(s), m) for m, s in columns.items()])
    if tests:
        notes += _test_notes(full)
    return Table(title, tuple(header), tuple(rows), tuple(notes))


def by_structure(results: pd.DataFrame, *, metric: str, title: str = "") -> Table:
    """One row a structure, one column a method, for one metric; the mean over structures in the last row.

    Args:
        results: Rows of one data set and split.
        metric: The metric.
        title: Title; that of the metric if empty.
    """
    full = with_means(results)
    full = full[full["metric"] == metric]
    methods = methods_in(full)
    names = [str(name) for name in pd.unique(full["structure"])]
    structures = [name for name in names if name not in OVERALL] + [n for n in OVERALL if n in names]
    summary = lookup(full)
    rows = []
    for structure in structures:
        cells = metric_cells(summary, [(method, structure, metric) for method in methods], metric)
        rows.append((Cell(structure), *cells))
    notes = ["Mean ± SD, median below.", *_missing_note(summary, [(name, metric) for name in structures])]
    label = heading(metric, unit_of(full, metric))
    return Table(title or label, ("structure", *methods), tuple(rows), tuple(notes))


def worst_cases(results: pd.DataFrame, *, method: str, metric: str, count: int) -> pd.DataFrame:
    """The cases that went worst, worst first, beside their unregistered value.

    Returns:
        Columns case, `method` and, if there is one, "unregistered"; empty if the metric has no direction.
    """
    full = with_means(results)
    structure, better = overall_structure(full, metric), describe(metric).better
    if structure is None or better == "neither":
        return pd.DataFrame()
    rows = full[(full["metric"] == metric) & (full["structure"] == structure)]
    wide = rows.pivot_table(index="case", columns="method", values="value", aggfunc="mean", sort=False)
    chosen = [name for name in (UNREGISTERED, method) if name in wide.columns]
    if method not in chosen:
        return pd.DataFrame()
    ordered = wide[chosen].sort_values(method, ascending=better == "higher").head(count)
    return ordered.reset_index().rename_axis(columns=None)


def paired_tests(results: pd.DataFrame) -> list[PairedTest]:
    """Every method against the first one (the unregistered state, if there), for every metric of alignment.

    Args:
        results: Rows of one data set and split.
    """
    full = with_means(results)
    reference, *others = methods_in(full) if not full.empty else [""]
    metrics = [name for name in in_order({str(m) for m in full["metric"]}) if name not in COST]
    found = []
    for metric in (name for name in metrics if describe(name).better != "neither" and name not in DETAILS):
        structure = overall_structure(full, metric)
        for method in others:
            test = compare(full, metric=metric, structure=str(structure), method=method, reference=reference)
            found += [test] if test else []
    return found


def lookup(results: pd.DataFrame) -> Lookup:
    """The rows of `summarise` by method, structure and metric."""
    records = summarise(results).to_dict("records")
    return {(str(row["method"]), str(row["structure"]), str(row["metric"])): row for row in records}


def metric_cells(
    summary: Lookup, keys: Sequence[tuple[str, str, str]], metric: str, *, median: bool = True
) -> list[Cell]:
    """The cells of one metric for several methods, mean ± SD with the median in small, the best of them bold."""
    known = describe(metric)
    found = [summary.get(key) for key in keys]
    means = [float("nan") if row is None else float(row["mean"]) for row in found]
    bold = best(means, "neither" if metric in COST else known.better, known.decimals)
    cells = []
    for row, mean, top in zip(found, means, bold, strict=True):
        if row is None or np.isnan(mean):
            cells.append(Cell(NONE))
            continue
        small = number(row["median"], known.decimals) if median else ""
        cells.append(Cell(spread(mean, row["sd"], known.decimals), small, top))
    return cells


def unit_of(results: pd.DataFrame, metric: str) -> str:
    """The unit of a metric in print."""
    units = pd.unique(results.loc[results["metric"] == metric, "unit"])
    return " or ".join(str(unit) for unit in units)


def _missing_note(summary: Lookup, pairs: Sequence[tuple[str, str]]) -> list[str]:
    notes = []
    methods = list(dict.fromkeys(key[0] for key in summary))
    for structure, metric in pairs:
        counts: dict[str, list[str]] = {}
        for method in methods:
            row = summary.get((method, structure, metric))
            if row is not None and row["missing"]:
                counts.setdefault(f"{row['missing']} of {row['missing'] + row['n']} cases", []).append(method)
        for count, names in counts.items():
            who = "" if names == methods else f", {', '.join(names)}"
            notes.append(f"{describe(metric).label}, {structure}{who}: undefined in {count}, left out.")
    return notes if len(notes) <= 6 else [*notes[:6], f"… and {len(notes) - 6} more with undefined values."]


def _test_notes(full: pd.DataFrame) -> list[str]:
    notes = [f"{test.sentence()}." for test in paired_tests(full)]
    if notes:
        notes.append(
            "Paired over cases: bootstrap interval of the mean difference, two-sided Wilcoxon signed-rank "
            "test (six cases or more), not corrected for the number of tests."
        )
    return notes
