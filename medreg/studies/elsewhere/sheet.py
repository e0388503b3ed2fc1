"""The table of a run on several data sets: a row a data set (and a kind of corruption), a column a structure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
import yaml

from medreg.reporting.cells import NONE, spread
from medreg.reporting.results import RunFolder, read_run
from medreg.reporting.tables import OVERALL, Cell, Table, methods_in, summarise, with_means
from medreg.reporting.vocabulary import describe, heading
from medreg.studies.elsewhere.jobs import DataJob
from medreg.studies.table.run_folder import is_finished


def results_of(jobs: Sequence[DataJob]) -> pd.DataFrame:
    """Return mean and SD of every metric and structure over the cases of every data set, corruption and method.

    Tests that have not finished have no rows.
    """
    blocks = [block for job in jobs if is_finished(job.folder) for block in _blocks(job)]
    return pd.concat(blocks, ignore_index=True) if blocks else pd.DataFrame()


def _blocks(job: DataJob) -> Iterator[pd.DataFrame]:
    run = read_run(job.folder)
    if run.results.empty:
        return
    rows = with_means(run.results)
    yield _summary(job, rows, "")
    for kind in corruptions_of(run):
        own = rows[rows["case"].str.fullmatch(rf".+_{re.escape(kind)}_\d+")]
        if not own.empty:
            yield _summary(job, own, kind)


def _summary(job: DataJob, rows: pd.DataFrame, kind: str) -> pd.DataFrame:
    found = summarise(rows).drop(columns=["data", "split"])
    # The order of methods is that of reports: the state before any method first.
    order = {method: place for place, method in enumerate(methods_in(rows))}
    found = found.sort_values("method", key=lambda names: names.map(order), kind="stable")
    label = f"{job.label}, {kind}" if kind else job.label
    facts = {"label": label, "data": job.data, "corruption": kind, "folder": str(job.folder)}
    return found.assign(**facts)[[*facts, *found.columns]]


def corruptions_of(run: RunFolder) -> list[str]:
    """Return the kinds of corruption of the test images of a run."""
    config = yaml.safe_load(run.config) if run.config else {}
    corruption = ((config or {}).get("data") or {}).get("corruption") or {}
    return list(corruption.get("kinds") or {})


def sheet_of(results: pd.DataFrame, jobs: Sequence[DataJob], metric: str, *, title: str) -> Table:
    """Return the table of one metric.

    Args:
        results: of `results_of`.
        jobs: in the order of the rows.
        metric: the metric.
        title: of the table.
    """
    rows = results[results["metric"] == metric] if not results.empty else results
    notes = ["Mean ± SD over cases; structure mean: over the structures of each case."] if len(rows) else []
    missing = [job for job in jobs if not is_finished(job.folder)]
    notes += [f"{job.label}: {reason(job)}" for job in missing]
    names = [str(name) for name in pd.unique(rows["structure"])] if len(rows) else []
    structures = [name for name in names if name not in OVERALL] + [name for name in OVERALL if name in names]
    units = [str(unit) for unit in pd.unique(rows["unit"])] if len(rows) else []
    header = ("data", "cases", *structures)
    several = len(rows) > 0 and rows["method"].nunique() > 1
    made = []
    for (label, method), block in rows.groupby(["label", "method"], sort=False) if len(rows) else ():
        first = f"{label}, {method}" if several else str(label)
        records: list[dict[str, Any]] = block.to_dict("records")  # type: ignore[assignment]
        by_structure = {str(row["structure"]): row for row in records}
        count = max(int(row["n"] + row["missing"]) for row in by_structure.values())
        cells = [_cell(by_structure.get(name), describe(metric).decimals) for name in structures]
        made.append((Cell(first), Cell(str(count)), *cells))
    name = heading(metric, " or ".join(units))
    return Table(f"{title}: {name}", header, tuple(made), tuple(notes))


def reason(job: DataJob) -> str:
    """Return why a test has no rows."""
    if not (job.folder / "run.json").is_file():
        return "did not start; the reason is printed above."
    return str(read_run(job.folder).record.get("error") or "did not finish; the same command goes on.")


def _cell(row: dict[str, float] | None, decimals: int) -> Cell:
    return Cell(NONE if row is None else spread(float(row["mean"]), float(row["sd"]), decimals))
