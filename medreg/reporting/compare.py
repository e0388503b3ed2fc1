"""Several runs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from medreg.reporting.heart_compare import compare_hearts
from medreg.reporting.results import RunFolder, read_run
from medreg.reporting.robustness import CLEAN, corruption_of, with_corruption
from medreg.reporting.tables import (
    Cell,
    Table,
    by_split,
    lookup,
    methods_in,
    metric_cells,
    overall_structure,
    split_tables,
    unit_of,
    with_means,
)
from medreg.reporting.vocabulary import DETAILS, UNREGISTERED, heading


def compare_runs(folders: Sequence[str | Path], *, tests: bool = True) -> list[Table]:
    """Tables of several runs on the same data, one row a run and method; the unregistered state appears once.

    Methods keep their plain names where these are unique and carry the run's name where they are not.

    Args:
        folders: Run folders.
        tests: Whether to add paired tests against the unregistered state as notes.

    Raises:
        DataError: If a folder is no run folder or a table in it is damaged.
    """
    runs = [read_run(folder) for folder in folders]
    tables = [
        table
        for name, rows in by_split(merge(runs))
        for table in split_tables(rows[~rows["metric"].isin(DETAILS)], title=name, tests=tests)
    ]
    further = (by_data_set(folders), compare_hearts(runs))
    return [*tables, *(table for table in further if table is not None)]


def merge(runs: Sequence[RunFolder]) -> pd.DataFrame:
    """Join the results of several runs, telling apart the methods that share a name."""
    frames = [run.results.assign(run=run.name) for run in runs if not run.results.empty]
    if not frames:
        return runs[0].results if runs else pd.DataFrame()
    joined = _joined(frames)
    runs_of = joined.groupby("method")["run"].nunique()
    shared = joined["method"].map(runs_of).gt(1) & joined["method"].ne(UNREGISTERED)
    joined.loc[shared, "method"] = joined["method"] + " [" + joined["run"] + "]"
    key = ["data", "split", "case", "structure", "metric"]
    twice = joined["method"].eq(UNREGISTERED) & joined.duplicated([*key, "method"])
    return joined[~twice].reset_index(drop=True)


def _joined(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    joined = pd.concat(frames, ignore_index=True)
    texts = [name for name in joined.columns if name != "value"]
    joined[texts] = joined[texts].fillna("")  # columns that only one kind of case has
    return joined


def by_data_set(folders: Sequence[str | Path], *, metric: str = "dice") -> Table | None:
    """One metric of several runs, a row the weights (or method) and a column a data set; None for one data set.

    Runs that evaluated the same weights, as `mode=test ckpt=RUN` does, share a row, named by the first of them.
    Corrupted test images of different strength are data sets of their own.

    Args:
        folders: Run folders.
        metric: To show, over the whole image.

    Raises:
        DataError: If a folder is no run folder or a table in it is damaged.
    """
    runs = [run for run in map(read_run, folders) if (run.results["metric"] == metric).any()]
    first: dict[str, str] = {}
    frames = []
    for run in runs:
        name = first.setdefault(str(run.record.get("weights") or run.name), run.name)
        frames.append(run.results.assign(run=name, data=_data_of(run)))
    if not frames:
        return None
    joined = _joined(frames)
    shared = joined.groupby("method")["run"].transform("nunique") > 1
    joined.loc[shared, "method"] = joined["method"] + " [" + joined["run"] + "]"
    columns = {name: with_means(rows) for name, rows in by_split(joined)}
    if len(columns) < 2:
        return None
    methods = methods_in(joined)
    cells = []
    for rows in columns.values():
        structure = str(overall_structure(rows, metric))
        found = lookup(rows[rows["metric"] == metric])
        cells.append(metric_cells(found, [(method, structure, metric) for method in methods], metric))
    table = tuple((Cell(method), *(column[i] for column in cells)) for i, method in enumerate(methods))
    title = f"{heading(metric, unit_of(joined, metric))} by data set"
    return Table(title, ("method", *columns), table, ("Mean ± SD over cases, median below.",))


def _data_of(run: RunFolder) -> pd.Series:
    """Name of the data of every row, with the strength of corruption where that is not 1."""
    names = run.results["data"].astype(str)
    kinds, strength = corruption_of(run)
    corrupted = with_corruption(run.results, kinds)["kind"] != CLEAN
    return names.where(~corrupted | (strength == 1.0), names + f" × {strength:g}")
