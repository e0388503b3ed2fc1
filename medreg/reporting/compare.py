"""Several runs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from medreg.reporting.results import RunFolder, read_run
from medreg.reporting.tables import Table, by_split, split_tables
from medreg.reporting.vocabulary import UNREGISTERED


def compare_runs(folders: Sequence[str | Path], *, tests: bool = True) -> list[Table]:
    """Tables of several runs on the same data, one row a run and method; the unregistered state appears once.

    Methods keep their plain names where these are unique and carry the run's name where they are not.

    Args:
        folders: Run folders.
        tests: Whether to add paired tests against the unregistered state as notes.

    Raises:
        DataError: If a folder is no run folder or a table in it is damaged.
    """
    results = merge([read_run(folder) for folder in folders])
    return [t for name, rows in by_split(results) for t in split_tables(rows, title=name, tests=tests)]


def merge(runs: Sequence[RunFolder]) -> pd.DataFrame:
    """Join the results of several runs, telling apart the methods that share a name."""
    frames = [run.results.assign(run=run.name) for run in runs if not run.results.empty]
    if not frames:
        return runs[0].results if runs else pd.DataFrame()
    joined = pd.concat(frames, ignore_index=True)
    texts = [name for name in joined.columns if name != "value"]
    joined[texts] = joined[texts].fillna("")  # columns that only one kind of case has
    runs_of = joined.groupby("method")["run"].nunique()
    shared = joined["method"].map(runs_of).gt(1) & joined["method"].ne(UNREGISTERED)
    joined.loc[shared, "method"] = joined["method"] + " [" + joined["run"] + "]"
    key = ["data", "split", "case", "structure", "metric"]
    twice = joined["method"].eq(UNREGISTERED) & joined.duplicated([*key, "method"])
    return joined[~twice].reset_index(drop=True)
