"""Collect what is to be ranked: metric files of any schema, folders of them, run folders, and runtimes beside them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from medreg.data.datasets.learn2reg_config import EvaluationConfig
from medreg.errors import DataError
from medreg.reporting.results import Frame
from medreg.studies.learn2reg.ranking_rules import kind_of
from medreg.studies.learn2reg.ranking_runs import RESULTS, runs_as_tables
from medreg.studies.learn2reg.runtime import FILE as RUNTIMES
from medreg.studies.learn2reg.schema import CASE_MEAN, read_all_metrics, read_metrics, tidy

METRICS = "metrics.json"


def collect(
    sources: Sequence[str | Path], *, config: EvaluationConfig | None = None, common: bool = False
) -> Frame:
    """Read everything that is to be ranked into one table.

    Args:
        sources: metric files, folders with a `metrics.json` (and a `runtime.csv`), folders of such files or folders,
            folders of runs of `python train.py`; each may be written NAME=PATH to name the method.
        config: official evaluation config: names the cases of old files, which are numbered, and says which cases
            and metrics count.
        common: keep only the cases that all methods of a task have.

    Raises:
        DataError: nothing found, a damaged file, or two methods of one name.
    """
    notes: list[str] = []
    tables: list[pd.DataFrame] = []
    runs: dict[Path, str | None] = {}
    for source in sources:
        name, path = _named(str(source))
        for file in _files(path):
            if file.name == RESULTS:
                runs[file.parent] = name
            else:
                tables += _read(file, name, config)
    if runs:
        found = runs_as_tables(runs)
        _not_mixed(tables, found)
        tables += found
    if not tables:
        raise DataError("There is nothing to rank: no metric file was given.")
    tables = _named_cases(tables, notes)
    _no_twins(tables)
    table = pd.concat(tables, ignore_index=True)
    if config is not None:
        table = _of_config(table, config)
    if common:
        table = _shared_cases(table, notes)
    return Frame(table, tuple(notes))


def _not_mixed(files: Sequence[pd.DataFrame], runs: Sequence[pd.DataFrame]) -> None:
    tasks = [{str(name) for table in tables for name in table["task"]} for tables in (files, runs)]
    if both := tasks[0] & tasks[1]:
        raise DataError(
            f"{', '.join(sorted(both))}: metric files and run folders do not measure the same (HD95 in voxels or "
            "mm, SDlogJ with or without 3). Make the fields of the runs (medreg submit), evaluate them (medreg "
            "evaluate learn2reg), and rank the metric files."
        )


def _named(source: str) -> tuple[str | None, Path]:
    name, sign, path = source.partition("=")
    if sign and not Path(source).exists():
        return name, Path(path)
    return None, Path(source)


def _files(path: Path) -> list[Path]:
    """Metric files and results of runs that a path means.

    Raises:
        DataError: the path does not exist or holds neither.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DataError(f"{path} does not exist; give metric files, folders of them, or run folders.")
    for name in (METRICS, RESULTS):
        if (path / name).is_file():
            return [path / name]
    inside = sorted([*path.glob(f"*/{METRICS}"), *path.glob(f"*/{RESULTS}")])
    inside = inside or sorted(path.glob("*.json"))
    if not inside:
        raise DataError(f"{path} holds no {METRICS}, no {RESULTS} of a run and no other metric file.")
    return inside


def _read(file: Path, name: str | None, config: EvaluationConfig | None) -> list[pd.DataFrame]:
    method = name or (file.parent.resolve().name if file.name == METRICS else file.stem)
    found = read_all_metrics(file) if config is None else (read_metrics(file, config=config),)
    tables = []
    for metrics in found:
        table = metrics.table(method, config=config)
        if (file.parent / RUNTIMES).is_file() and file.name == METRICS:
            table = pd.concat([table, _runtimes(file.parent / RUNTIMES, table)], ignore_index=True)
        tables.append(table)
    return tables


def _runtimes(file: Path, table: pd.DataFrame) -> pd.DataFrame:
    """Seconds of each case of a table as rows of the metric runtime."""
    try:
        times = pd.read_csv(file, dtype={"case": str})
        seconds = dict(zip(times["case"], times["seconds"].astype(float), strict=True))
    except (OSError, KeyError, ValueError, pd.errors.ParserError) as error:
        raise DataError(f"{file} cannot be read: it needs the columns case and seconds ({error}).") from error
    by_numbers = {_numbers(case): value for case, value in seconds.items()}
    method, task = str(table["method"].iloc[0]), str(table["task"].iloc[0])
    rows = []
    for case in pd.unique(table["case"]):
        value = by_numbers.get(_numbers(case), by_numbers.get(_numbers(case)[::2]))
        if value is not None:
            rows.append((method, task, case, "runtime", CASE_MEAN, pd.NA, value))
    return tidy(rows)


def _numbers(case: str) -> tuple[str, ...]:
    """The four-digit numbers of a case in any spelling: 0001_0000<--0002_0000 or disp_0001_0002."""
    return tuple(re.findall(r"\d{4}", case)) or (case,)


def _named_cases(tables: list[pd.DataFrame], notes: list[str]) -> list[pd.DataFrame]:
    """Give numbered cases of old files the names that a current file of the task has, in its order."""
    out = []
    for table in tables:
        cases = [str(case) for case in pd.unique(table["case"])]
        task = table["task"].iloc[0] if len(table) else ""
        names = next((found for other in tables if (found := _case_names(other, task))), None)
        if names is not None and all(case.isdigit() for case in cases) and len(names) == len(cases):
            table = table.assign(case=table["case"].astype(int).map(dict(enumerate(names))))
            notes.append(
                f"{table['method'].iloc[0]}: its cases are numbered; taken in the order of the other files."
            )
        out.append(table)
    return out


def _case_names(table: pd.DataFrame, task: str) -> list[str] | None:
    if table.empty or table["task"].iloc[0] != task:
        return None
    names = [str(case) for case in pd.unique(table["case"])]
    return names if not any(name.isdigit() for name in names) else None


def _no_twins(tables: Sequence[pd.DataFrame]) -> None:
    seen: set[tuple[str, str]] = set()
    for table in tables:
        for key in set(zip(table["method"], table["task"], strict=True)):
            if key in seen:
                raise DataError(
                    f"Two files are both called {key[0]} for {key[1]}; name them apart: NAME=PATH."
                )
            seen.add(key)


def _of_config(table: pd.DataFrame, config: EvaluationConfig) -> pd.DataFrame:
    """Only the cases and metrics of a config, with runtimes.

    Raises:
        DataError: a method lacks cases of the config.
    """
    cases = [pair.case for pair in config.pairs]
    metrics = {spec.name for spec in config.metrics}
    runtime = table["metric"].map(kind_of) == "runtime"
    kept = table[table["case"].isin(cases) & (table["metric"].isin(metrics) | runtime)]
    for method, rows in table.groupby("method", sort=False):
        lost = [case for case in cases if case not in set(rows["case"])]
        if lost:
            raise DataError(
                f"{method} was not evaluated on {', '.join(lost[:6])}{' …' if len(lost) > 6 else ''}, which the config "
                "lists. Evaluate it with this config, or leave --config out."
            )
    return kept


def _shared_cases(table: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    parts = []
    for task, rows in table.groupby("task", sort=False):
        measured = rows[rows["metric"].map(kind_of) != "runtime"]
        sets = [set(group["case"]) for _, group in measured.groupby("method")]
        shared = set.intersection(*sets)
        if not shared:
            raise DataError(f"{task}: the methods have no case in common.")
        dropped = len(set.union(*sets)) - len(shared)
        if dropped:
            notes.append(f"{task}: {dropped} cases that not all methods have are left out (--common).")
        parts.append(rows[rows["case"].isin(shared)])
    return pd.concat(parts, ignore_index=True)
