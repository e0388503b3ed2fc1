"""Run times of a method: the `runtime.csv` that a benchmark or a submission writes beside its fields."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from medreg.data.datasets.learn2reg_config import PairPaths
from medreg.study.view import write_csv

FILE = "runtime.csv"
COLUMNS = ("case", "seconds", "cpu_seconds", "peak_memory_mib", "version", "hardware", "threads")


def write_runtime(folder: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write `runtime.csv` into a folder: a row a case with the columns `COLUMNS`."""
    import pandas as pd  # a third of a second, which scoring does not need

    return write_csv(pd.DataFrame([dict(row) for row in rows]), folder / FILE, columns=COLUMNS)


def read_runtime(fields: Path, pairs: Sequence[PairPaths]) -> dict[str, dict[str, str]]:
    """Rows of `runtime.csv` in the folder of the fields or above it, by case; empty if there is none.

    Args:
        fields: folder or zip of the fields.
        pairs: pairs of the evaluation; a row's `case` is `FFFF_ffff<--MMMM_mmmm` or a name of its field.
    """
    file = next((f for f in (fields / FILE, fields.parent / FILE) if f.is_file()), None)
    if file is None:
        return {}
    with file.open(encoding="utf-8", newline="") as stream:
        rows = {row.get("case", ""): dict(row) for row in csv.DictReader(stream)}
    names = {pair.case: (pair.case, pair.stem, f"{pair.fixed_case}_{pair.moving_case}") for pair in pairs}
    found = {case: next((rows[key] for key in keys if key in rows), None) for case, keys in names.items()}
    return {case: row for case, row in found.items() if row is not None}
