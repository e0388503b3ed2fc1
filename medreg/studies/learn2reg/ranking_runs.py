"""Run folders of `python train.py` as something to rank: their own metrics, named so that jobs of a sweep differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import yaml

from medreg.errors import DataError
from medreg.reporting.compare import merge
from medreg.reporting.results import RunFolder, read_run
from medreg.reporting.tables import OVERALL
from medreg.studies.learn2reg.schema import CASE_MEAN, COLUMNS

RESULTS = "results.csv"


def runs_as_tables(folders: Mapping[Path, str | None]) -> list[pd.DataFrame]:
    """Return one table a method of all runs, with the metrics' own names (surface distances in mm).

    Args:
        folders: run folder → name for its method, None to make one: the method's, followed by the options in which the
            runs differ where several share it.

    Raises:
        DataError: a damaged folder, or no results in any.
    """
    runs = [read_run(folder) for folder in folders]
    results = merge(runs)
    if results.empty:
        raise DataError(f"No results yet in {', '.join(map(str, folders))}; evaluate the runs first.")
    results = _renamed(results, runs, list(folders.values()))
    whole = results["structure"].isin(OVERALL)
    number = {name: k for k, name in enumerate(pd.unique(results.loc[~whole, "structure"]))}
    tasks = {run.name: _task_of(run.config) for run in runs}
    results = results.assign(
        task=results["run"].map(tasks),
        item=results["structure"].map(number).fillna(CASE_MEAN).astype("int64"),
    )
    results["label"] = pd.array([pd.NA] * len(results), dtype="Int64")
    results.loc[results["task"] == "", "task"] = results["data"]
    results.loc[results["metric"] == "time_s", "metric"] = "runtime"
    groups = results.groupby("method", sort=False)
    return [rows[list(COLUMNS)].reset_index(drop=True) for _, rows in groups]


def differing_options(overrides: Sequence[Sequence[str]]) -> list[str]:
    """Return for each run the overrides that not all runs have, joined by blanks."""
    shared = set.intersection(*(set(words) for words in overrides)) if overrides else set()
    return [" ".join(word for word in words if word not in shared) for words in overrides]


def _renamed(results: pd.DataFrame, runs: Sequence[RunFolder], names: Sequence[str | None]) -> pd.DataFrame:
    """Put given names, or what distinguishes the jobs of a sweep, in place of `method [run]`."""
    words = [[str(word) for word in run.record.get("overrides") or []] for run in runs]
    labels = differing_options(words)
    telling = all(labels) and len(set(labels)) == len(labels)
    methods = results["method"]
    for run, name, label in zip(runs, names, labels, strict=True):
        suffix = f" [{run.name}]"
        own = (results["run"] == run.name) & (methods != "unregistered")
        if name is not None:
            refined = methods.str.removesuffix(suffix).str.extract(r"(\+refine)$")[0].fillna("")
            methods = methods.mask(own, name + refined)
        elif telling:
            methods = methods.mask(own, methods.str.replace(suffix, f" [{label}]", regex=False))
    return results.assign(method=methods)


def _task_of(config: str) -> str:
    """Name of the Learn2Reg task in a run's config.yaml, or nothing."""
    content = yaml.safe_load(config) or {}
    dataset = (content.get("data") or {}).get("dataset") or {}
    return str(dataset.get("task") or "")
