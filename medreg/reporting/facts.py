"""The facts of a run as short texts for the head and the foot of its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from medreg.metrics.hearts.sources import POPULATION
from medreg.reporting.results import RunFolder

HEADS = frozenset(
    {"command", "status", "error", "model", "data", "seed", "parameters", "started", "finished"}
)


def header_facts(run: RunFolder) -> dict[str, str]:
    """What a reader wants to know first: when, how long, how large, which code, how many cases."""
    record = run.record
    facts = {
        "Started": _time(record.get("started")),
        "Duration": duration(record.get("started"), record.get("finished")),
        "Seed": record.get("seed"),
        "Parameters": f"{record['parameters']:,}" if isinstance(record.get("parameters"), int) else None,
        "Commit": commit(record),
        "Device": record.get("device"),
        "Cases evaluated": _cases(run),
        "Training steps": f"{run.history['step'].max():.0f}" if not run.history.empty else None,
    }
    return {name: str(value) for name, value in facts.items() if value not in (None, "")}


def _cases(run: RunFolder) -> int | None:
    """How many cases were evaluated one by one."""
    if run.results.empty:
        return None
    return int(run.results.loc[run.results["case"] != POPULATION, "case"].nunique())


def notices(run: RunFolder, more: Sequence[str] = ()) -> list[tuple[str, str]]:
    """Warnings for the top of the page: ("bad" or "note", sentence)."""
    found: list[tuple[str, str]] = []
    if run.status == "unknown":
        found.append(("bad", "There is no run.json: how this run ended is unknown."))
    elif run.status == "running":
        found.append(("bad", "This run has not finished: the page shows what there was when it was made."))
    elif run.status != "finished":
        reason = run.record.get("error")
        found.append(
            ("bad", f"This run {_ENDS.get(run.status, run.status)}." + (f" {reason}" if reason else ""))
        )
    if run.record.get("dirty"):
        found.append(
            ("note", "The checkout had uncommitted changes: the commit alone does not give this code.")
        )
    return found + [("note", note) for note in (*run.notes, *more)]


_ENDS = {"failed": "failed", "interrupted": "was interrupted", "missing": "has not started"}


def environment_rows(record: Mapping[str, Any]) -> dict[str, str]:
    """Everything else of run.json, nested keys joined by dots."""
    rest = {key: value for key, value in record.items() if key not in HEADS}
    return {key: _short(value) for key, value in flatten(rest).items() if value not in (None, "", [], {})}


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one level of dotted keys; lists stay as they are."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, name))
        else:
            flat[name] = value
    return flat


def commit(record: Mapping[str, Any]) -> str | None:
    """Short commit, with "+ changes" if the checkout was dirty; None where it is not known."""
    full = record.get("commit")
    if not full:
        return None
    return f"{str(full)[:10]}{' + changes' if record.get('dirty') else ''}"


def duration(started: object, finished: object) -> str | None:
    """Time between two ISO time stamps, such as "1 h 03 min"; None if one is missing or unreadable."""
    try:
        seconds = int(
            (datetime.fromisoformat(str(finished)) - datetime.fromisoformat(str(started))).total_seconds()
        )
    except (ValueError, TypeError):
        return None
    hours, minutes = seconds // 3600, seconds // 60 % 60
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {seconds % 60:02d} s" if minutes else f"{seconds} s"


def _time(stamp: object) -> str | None:
    return str(stamp)[:19].replace("T", " ") if stamp else None


def _short(value: Any) -> str:
    text = ", ".join(str(item) for item in value) if isinstance(value, list | tuple) else str(value)
    return text if len(text) <= 400 else f"{text[:400]}…"
