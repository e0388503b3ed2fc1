"""Several runs side by side, and the state of a sweep."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from medreg.errors import DataError
from medreg.reporting.results import RunFolder, read_run
from medreg.reporting.tables import (
    Table,
    by_split,
    by_structure,
    headline,
    structure_metrics,
    summarise,
    with_means,
)
from medreg.reporting.vocabulary import UNREGISTERED, heading

REPORTED = ("dice", "hd95_mm", "assd_mm", "tre_mm", "epe_mm", "folding_percent")


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
    tables = []
    for name, rows in by_split(results):
        tables.append(headline(rows, title=name, tests=tests))
        tables += [by_structure(rows, metric=metric) for metric in structure_metrics(rows)]
    return tables


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


def summarise_sweep(folder: str | Path, *, expected: Iterable[str] = ()) -> pd.DataFrame:
    """One row for each job of a sweep: its status and the mean of the main metrics.

    Args:
        folder: Folder that holds the run folders of the jobs (any depth).
        expected: Names of run folders that should be there; those that are not count as missing.

    Returns:
        Columns job, status, overrides, method, error and one for each metric found, named with its unit;
        jobs in the order of their names. Status is finished, failed, interrupted, running, missing, damaged.

    Raises:
        DataError: If the folder does not exist.
    """
    root = Path(folder)
    if not root.is_dir():
        raise DataError(f"{root} is no folder; give the folder of the sweep.")
    found = {file.parent.relative_to(root).as_posix(): file.parent for file in root.rglob("run.json")}
    names = dict.fromkeys([*sorted(found, key=_natural), *expected])
    rows = [_job(name, found.get(name)) for name in names]
    return pd.DataFrame(rows, columns=_columns(rows))


def _job(name: str, folder: Path | None) -> dict[str, object]:
    job: dict[str, object] = {"job": name, "status": "missing", "overrides": "", "method": "", "error": ""}
    if folder is None:
        return job
    try:
        run = read_run(folder)
    except DataError as error:
        return job | {"status": "damaged", "error": str(error)}
    overrides = run.record.get("overrides") or []
    job |= {
        "status": run.status,
        "overrides": " ".join(str(word) for word in overrides),
        "error": str(run.record.get("error") or ""),
    }
    return job | _metrics(run)


def _metrics(run: RunFolder) -> dict[str, object]:
    """Means over the cases of the last method, that is, the most refined one."""
    summary = summarise(with_means(run.results))
    methods = [method for method in pd.unique(summary["method"]) if method != UNREGISTERED]
    if not methods:
        return {}
    own = summary[(summary["method"] == methods[-1]) & summary["structure"].isin(("mean", "all"))]
    own = own.drop_duplicates("metric").set_index("metric")
    values = {heading(m, str(own.loc[m, "unit"])): own.loc[m, "mean"] for m in REPORTED if m in own.index}
    return {"method": methods[-1], **values}


def _columns(rows: Sequence[dict[str, object]]) -> list[str]:
    columns = dict.fromkeys(("job", "status", "overrides", "method"))
    columns |= dict.fromkeys(name for row in rows for name in row if name != "error")
    return [*columns, "error"]


def _natural(name: str) -> tuple[tuple[int, str], ...]:
    """Sort "10" after "9"."""
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in name.split("/"))
