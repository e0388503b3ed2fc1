"""Rows kept with the code: `experiments/<paper>/results/<name>.<scale>.csv`, with the facts of their runs.

From them a table is printed without running anything, with the commit at which they were measured.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from medreg.errors import DataError
from medreg.reporting.tables import OVERALL
from medreg.studies.table.estimates import TableResults
from medreg.studies.table.plan import UnitStanding
from medreg.studies.table.table_file import TableFile
from medreg.study.view import write_csv

FACTS = ("commit", "dirty", "cpu_seconds", "steps", "parameters", "seconds", "hardware")
COLUMNS = ("row", "seed", "case", "structure", "metric", "value", "unit", *FACTS)
DIGITS = 6


def write_committed(results: TableResults, file: Path) -> Path:
    """Write the rows that the columns of the table show, rounded to six digits.

    Raises:
        DataError: there is no row.
    """
    wanted = {"time_s": {None}}
    for spec in results.table.columns.values():
        wanted.setdefault(spec.metric, set()).add(spec.structure)  # type: ignore[arg-type]
    frame = results.frame
    kept = [
        metric in wanted
        and (structure in wanted[metric] or (None in wanted[metric] and structure in OVERALL))
        for metric, structure in zip(frame["metric"], frame["structure"], strict=True)
    ]
    rows = frame[kept].copy()
    if rows.empty:
        raise DataError(f"There is nothing to keep in {file}: no run of this table is done.")
    rows["value"] = [float(f"{value:.{DIGITS}g}") for value in rows["value"]]
    for fact in FACTS:
        rows[fact] = [
            results.facts[row, int(seed)].get(fact)
            for row, seed in zip(rows["row"], rows["seed"], strict=True)
        ]
    return write_csv(rows, file, columns=COLUMNS)


def read_committed(table: TableFile, scale: str, file: Path) -> TableResults:
    """Read kept rows; those of rows that the table no longer has are left out.

    Raises:
        DataError: no such file, or one that lacks columns.
    """
    try:
        frame = pd.read_csv(file, dtype={"case": str})
    except (OSError, ValueError) as error:
        raise DataError(
            f"{file} cannot be read; run the table, then keep its rows with --commit. ({error})"
        ) from error
    lacking = [name for name in COLUMNS if name not in frame.columns]
    if lacking:
        raise DataError(f"{file} lacks the columns {', '.join(lacking)}; write it again with --commit.")
    frame = frame[frame["row"].isin(table.rows_at(scale))]
    facts: dict[tuple[str, int], dict[str, Any]] = {}
    for (row, seed), block in frame.groupby(["row", "seed"], sort=False):
        first = block.iloc[0]
        facts[str(row), int(str(seed))] = {
            name: None if pd.isna(first[name]) else first[name] for name in FACTS
        }
    standings = {
        (row, seed): UnitStanding("there")
        if (row, seed) in facts
        else UnitStanding("missing", "not among the rows kept")
        for row, seed in table.units_at(scale)
    }
    commits = sorted({str(f["commit"])[:8] for f in facts.values() if f["commit"]})
    origin = f"Rows measured at commit {', '.join(commits) or 'unknown'}, read from {file.name}."
    return TableResults(
        table, scale, frame[list(COLUMNS[:7])].reset_index(drop=True), facts, standings, origin
    )
