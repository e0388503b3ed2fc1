"""Read the files of a run folder: results per case, history of training, run record, chosen cases."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medreg.errors import DataError
from medreg.reporting.views import Array

# Of every results.csv; columns beside these identify cases of one kind, such as the fixed and moving image of a pair.
RESULT_COLUMNS = ("run", "model", "data", "split", "case", "method", "structure", "metric", "value", "unit")
HISTORY_COLUMNS = ("step", "epoch", "name", "value")
CALIBRATION_COLUMNS = ("case", "method", "kind", "structure", "position", "count", "observed", "expected")
NOT_KEY = frozenset({"model", "value", "unit"})


@dataclass(frozen=True)
class Frame:
    """A table read from a file, and what a reader should know about the reading."""

    table: pd.DataFrame
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunFolder:
    """Everything that a report needs from one run folder.

    Attributes:
        path: The folder.
        record: run.json, empty if there is none.
        results: Per-case metrics with at least the columns `RESULT_COLUMNS`, possibly no row.
        history: Scalars over training with the columns `HISTORY_COLUMNS`, possibly no row.
        config: config.yaml as text, empty if there is none.
        cases: Files with the arrays of the chosen cases.
        notes: Oddities found while reading, one sentence each.
    """

    path: Path
    record: dict[str, Any]
    results: pd.DataFrame
    history: pd.DataFrame
    config: str
    cases: tuple[Path, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def name(self) -> str:
        """Name of the run: that of its folder."""
        return self.path.resolve().name

    @property
    def status(self) -> str:
        """How the run ended according to run.json, "unknown" without one."""
        return str(self.record.get("status", "unknown"))


def read_run(folder: str | Path) -> RunFolder:
    """Read a run folder; files that an unfinished run has not written yet count as empty.

    Raises:
        DataError: If the folder does not exist, holds nothing of a run, or a file in it is damaged.
    """
    path = Path(folder)
    if not path.is_dir():
        raise DataError(f"{path} is no folder; give the folder of a run, the one that holds run.json.")
    files = ("results.csv", "history.csv", "run.json", "config.yaml")
    if not any((path / name).is_file() for name in files):
        raise DataError(f"{path} holds none of {', '.join(files)}; it is not the folder of a run.")
    results, history = read_results(path / files[0]), read_history(path / files[1])
    config = path / files[3]
    return RunFolder(
        path=path,
        record=read_record(path / files[2]),
        results=results.table,
        history=history.table,
        config=config.read_text(encoding="utf-8", errors="replace") if config.is_file() else "",
        cases=tuple(sorted((path / "cases").glob("*.npz"))),
        notes=results.notes + history.notes,
    )


def read_results(path: str | Path) -> Frame:
    """Read a results.csv; a line that a killed run left half-written is dropped with a note.

    Raises:
        DataError: If a column is missing or a value is no number.
    """
    frame = _read_table(Path(path), RESULT_COLUMNS, numeric=("value",))
    table, notes = frame.table, list(frame.notes)
    texts = [name for name in table.columns if name != "value"]
    table[texts] = table[texts].fillna("").astype(str)
    repeated = table.duplicated([name for name in table.columns if name not in NOT_KEY], keep="last")
    if repeated.any():
        notes.append(f"{Path(path).name}: {int(repeated.sum())} repeated rows, the last of each was kept.")
    return Frame(table[~repeated].reset_index(drop=True), tuple(notes))


def read_history(path: str | Path) -> Frame:
    """Read a history.csv; where a resumed run wrote a step twice, the later value counts.

    Raises:
        DataError: If a column is missing or a value is no number.
    """
    frame = _read_table(Path(path), HISTORY_COLUMNS, numeric=("step", "epoch", "value"))
    table = frame.table.drop_duplicates(["step", "name"], keep="last")
    return Frame(table.sort_values(["name", "step"], kind="stable").reset_index(drop=True), frame.notes)


def read_calibration(path: str | Path) -> Frame:
    """Read a calibration.csv: counts of every case that can be pooled; empty if there is none.

    A row with NaN would count as 0 in a sum; it is left out with a note.

    Raises:
        DataError: If a column is missing, a value is no number, or a count is below 0.
    """
    frame, numbers = (
        _read_table(Path(path), CALIBRATION_COLUMNS, numeric=CALIBRATION_COLUMNS[4:]),
        CALIBRATION_COLUMNS[4:],
    )
    if (frame.table["count"] < 0).any():
        raise DataError(f"{path} has a count below 0, which no evaluation writes; evaluate the run again.")
    whole, notes = frame.table[list(numbers)].notna().all(axis=1), frame.notes
    if not whole.all():
        notes = (*notes, f"{Path(path).name}: {int((~whole).sum())} rows with NaN were left out.")
    table = frame.table[whole].drop_duplicates(list(CALIBRATION_COLUMNS[:5]), keep="last")
    return Frame(table.reset_index(drop=True), notes)


def read_record(path: str | Path) -> dict[str, Any]:
    """Read a run.json, empty if there is none.

    Raises:
        DataError: If the file is no JSON object.
    """
    file = Path(path)
    if not file.is_file():
        return {}
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(
            f"{file} is no valid JSON ({error}); run the same command again to rewrite it."
        ) from error
    if not isinstance(record, dict):
        raise DataError(f"{file} must hold one JSON object, not a {type(record).__name__}.")
    return record


def read_case(path: str | Path, needs: Sequence[str]) -> dict[str, Array]:
    """Read the arrays of one chosen case.

    Args:
        path: The file.
        needs: Names of arrays that it must hold.

    Raises:
        DataError: If the file is damaged or lacks an array that is needed.
    """
    file = Path(path)
    try:
        with np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{file} cannot be read ({error}); run the same command again to rewrite it."
        ) from error
    missing = set(needs) - set(arrays)
    if missing:
        raise DataError(f"{file} lacks {', '.join(sorted(missing))}.")
    return arrays


def _read_table(file: Path, columns: Sequence[str], *, numeric: Sequence[str]) -> Frame:
    if not file.is_file() or file.stat().st_size == 0:
        return Frame(pd.DataFrame({name: pd.Series(dtype=float) for name in columns}))
    text = file.read_text(encoding="utf-8", errors="replace")
    notes: tuple[str, ...] = ()
    if not text.endswith("\n"):
        text, _, last = text.rpartition("\n")
        notes = (f"{file.name}: the last line was cut off ({last[:40]!r}) and left out.",)
    table = _parse(file, text)
    missing = [name for name in columns if name not in table.columns]
    if missing and table.empty and notes:
        return Frame(pd.DataFrame({name: pd.Series(dtype=float) for name in columns}), notes)
    if missing:
        raise DataError(f"{file} lacks the columns {', '.join(missing)}; it has {', '.join(table.columns)}.")
    for name in numeric:
        numbers = pd.to_numeric(table[name], errors="coerce")
        wrong = numbers.isna() & ~table[name].str.strip().str.lower().isin(("", "nan"))
        if wrong.any():
            line = int(np.flatnonzero(wrong)[0]) + 2
            raise DataError(f"{file}, line {line}: {name} is {table[name][line - 2]!r}, which is no number.")
        table[name] = numbers.astype(float)
    return Frame(table, notes)


def _parse(file: Path, text: str) -> pd.DataFrame:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False, index_col=False)
    except pd.errors.EmptyDataError:
        return pd.DataFrame()
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        raise DataError(
            f"{file} is no valid table: {str(error).strip()}. Mend or delete that line."
        ) from error
