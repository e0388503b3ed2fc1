"""Means and spread over seeds, the best setting, and the command that runs it again."""

from __future__ import annotations

import shlex
from typing import Any

import numpy as np
import pandas as pd

from medreg.reporting.cells import spread
from medreg.reporting.tables import Cell, Table
from medreg.reporting.vocabulary import describe, heading
from medreg.studies.sweep.trials import SEED, Sweep, sign_of


def by_setting(sweep: Sweep) -> pd.DataFrame:
    """Return one row a setting: options, number of seeds, mean and standard deviation of each metric over seeds.

    The settings with the best first objective come first; those without a finished run come last.
    """
    done, options = sweep.finished, list(sweep.options)
    if done.empty:
        return pd.DataFrame(columns=[*options, "seeds"])
    groups = done.groupby(options, sort=False, dropna=False) if options else [((), done)]
    rows = [
        _row(dict(zip(options, _tuple(key), strict=False)), group, sweep.metrics) for key, group in groups
    ]
    table = pd.DataFrame(rows)
    first = f"{sweep.objectives[0]}"
    if first not in table:
        return table
    order = (-sign_of(first) * table[first]).sort_values(na_position="last", kind="stable").index
    return table.loc[order].reset_index(drop=True)


def best_command(sweep: Sweep, settings: pd.DataFrame) -> str | None:
    """Return the command that runs the best setting with the seeds that it had; None where nothing finished."""
    first = sweep.objectives[0]
    if settings.empty or first not in settings or not np.isfinite(settings[first].iloc[0]):
        return None
    best = settings.iloc[0]
    chosen = sweep.finished
    for name in sweep.options:
        chosen = chosen[chosen[name] == best[name]]
    seeds = [str(seed) for seed in chosen[SEED] if seed != ""] if SEED in chosen else []
    own = [f"{name}={best[name]}" for name in sweep.options if best[name] != ""]
    words = [*sweep.common, *own, *([f"{SEED}={','.join(seeds)}"] if seeds else [])]
    flag = ["-m"] if len(seeds) > 1 else []
    return shlex.join(["python", "train.py", *flag, *words])


def as_table(sweep: Sweep, settings: pd.DataFrame, *, metrics: int) -> Table:
    """The settings in print with so many metrics, objectives first; the best value of each objective in bold."""
    shown = [name for name in sweep.metrics if name in settings][:metrics]
    best = {name: _best(settings[name], sign_of(name)) for name in sweep.objectives if name in settings}
    header = (*(sweep.options or ("setting",)), "seeds", *(heading(name, "") for name in shown))
    rows = []
    for number, row in settings.iterrows():
        names = [Cell(str(row[name])) for name in sweep.options] or [Cell("all runs")]
        values = [_cell(row, name, bold=best.get(name) == number) for name in shown]
        rows.append((*names, Cell(str(int(row["seeds"]))), *values))
    notes = ["Mean ± standard deviation over seeds of the mean over cases."]
    failed = sweep.trials[sweep.trials["status"] != "finished"]
    notes += [f"{len(failed)} of {len(sweep.trials)} runs did not finish."] if len(failed) else []
    return Table("Settings", header, tuple(rows), tuple(notes))


def _row(options: dict[str, Any], group: pd.DataFrame, metrics: list[str]) -> dict[str, Any]:
    known = [name for name in metrics if name in group]
    spreads = {f"{name}_sd": group[name].std(ddof=1) for name in known}
    return {**options, "seeds": len(group), **{name: group[name].mean() for name in known}, **spreads}


def _cell(row: pd.Series[Any], name: str, *, bold: bool) -> Cell:
    return Cell(spread(row[name], row[f"{name}_sd"], describe(name).decimals), bold=bold)


def _best(values: pd.Series[Any], sign: float) -> Any:
    finite = (sign * values).replace([np.inf, -np.inf], np.nan).dropna()
    return None if finite.empty else finite.idxmax()


def _tuple(key: Any) -> tuple[Any, ...]:
    return key if isinstance(key, tuple) else (key,)
