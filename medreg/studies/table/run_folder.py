"""What a table takes from a run folder: rows of its cases, and facts of the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medreg.io.atomic import read_json
from medreg.metrics.hearts.sources import POPULATION
from medreg.reporting.results import read_run
from medreg.reporting.tables import main_method, methods_in, of_cases, with_means
from medreg.study.unit import Outcome

COLUMNS = ("case", "structure", "metric", "value", "unit")


def is_finished(folder: Path) -> bool:
    """Return whether the run of a folder ended well and was tested."""
    record = read_json(folder / "run.json") or {}
    return record.get("status") == "finished" and "test" in record.get("done", {})


def began(folder: Path) -> str | None:
    """Return when the run of a folder began, None if it has not."""
    record = read_json(folder / "run.json") or {}
    return record.get("started")


def read_outcome(folder: Path, method: str = "") -> Outcome:
    """Return rows and facts of a run, or why there are none; the key and the digest are left to the caller.

    Args:
        folder: of the run.
        method: one of the methods in its results; the main one if empty, see `main_method`.
    """
    if not (folder / "run.json").is_file():
        return Outcome(
            {}, "", state="failed", error=f"{folder} holds no run; what stopped it is printed above."
        )
    run = read_run(folder)
    facts = _facts(run.record, run.history)
    facts["folder"] = str(folder)
    if not is_finished(folder):
        text = str(run.record.get("error") or f"the run stopped without a word ({run.status})")
        return Outcome({}, "", state="failed", error=text, cost=facts)
    methods = methods_in(of_cases(run.results)) if not of_cases(run.results).empty else []
    main = main_method(run.results)  # a model that only makes new hearts has rows of all cases together alone
    wanted = method or main or ""
    if wanted not in methods and (wanted != main or not wanted):
        text = f"{folder / 'results.csv'} has no method {wanted!r}, only {', '.join(methods) or 'nothing'}."
        return Outcome({}, "", state="failed", error=text, cost=facts)
    # What is told of all cases together belongs to the run, whichever of its methods is meant.
    own = (run.results["method"] == wanted) | (run.results["case"] == POPULATION)
    rows = with_means(run.results[own])
    return Outcome({}, "", rows=tuple(plain_rows(rows)), cost=facts)


def plain_rows(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the columns of a table's rows as plain values."""
    records: list[dict[Any, Any]] = rows[list(COLUMNS)].to_dict("records")
    for record in records:  # JSON has no NaN
        record["value"] = float(record["value"]) if np.isfinite(record["value"]) else None
        record["case"] = str(record["case"])
    return records


def _facts(record: dict[str, Any], history: pd.DataFrame) -> dict[str, Any]:
    cpu = (record.get("cpu_seconds") or {}).get("fit")
    steps = int(history["step"].max()) if not history.empty else None
    hardware = (record.get("environment") or record).get("hardware") or {}
    return {
        "seconds": record.get("seconds"),
        "cpu_seconds": cpu if steps else None,
        "steps": steps,
        "epochs": int(history["epoch"].max()) + 1 if not history.empty else None,
        "parameters": record.get("parameters"),
        "commit": record.get("commit"),
        "dirty": record.get("dirty"),
        "started": record.get("started"),
        "device": record.get("device"),
        "hardware": f"{hardware.get('cpus')} CPUs, {hardware.get('machine')}" if hardware else None,
        "code": record.get("code"),
        "data": record.get("data_fingerprint"),
    }
