"""The runs of a sweep as one table: what varied, the seed, the objectives, every mean metric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from medreg.errors import DataError
from medreg.io.atomic import read_json
from medreg.reporting.vocabulary import LOSSES, describe, in_order
from medreg.runs.sweep import FINISHED, MEMORY, Job, jobs_of

SEED = "seed"


@dataclass(frozen=True)
class Sweep:
    """What is known of a sweep.

    Attributes:
        folder: folder where its page goes.
        common: overrides that all of its runs share.
        options: names of what varied, the seed left out.
        objectives: names of the metrics that were to become best.
        trials: one row a run: `options`, `seed`, `status`, `folder`, `cpu_seconds`, `error`, and the mean of each
            metric over cases and structures, NaN where the run did not finish.
    """

    folder: Path
    common: tuple[str, ...]
    options: tuple[str, ...]
    objectives: tuple[str, ...]
    trials: pd.DataFrame

    @property
    def finished(self) -> pd.DataFrame:
        """Rows of the runs that came to their end."""
        return self.trials[self.trials["status"] == FINISHED]

    @property
    def metrics(self) -> list[str]:
        """Metrics that at least one run has, objectives first; without counts of losses where nothing was lost."""
        fixed = {*self.options, *self.objectives, SEED, "status", "folder", "cpu_seconds", "error"}
        others = {str(name) for name in self.trials.columns if name not in fixed}
        quiet = {name for name in LOSSES & others if not (self.trials[name].fillna(0) != 0).any()}
        return [*self.objectives, *in_order(others - quiet)]


def read_sweep(folder: Path) -> Sweep:
    """Read a sweep from its folder, or all runs that lie in a folder as if they were one.

    Raises:
        DataError: neither a sweep nor runs are there.
    """
    jobs = jobs_of(folder) if (folder / MEMORY).is_file() else _runs_in(folder)
    if not jobs:
        raise DataError(
            f"{folder} holds neither {MEMORY} nor run folders; give the folder of a sweep or of runs."
        )
    own = {job: _options(job.overrides) for job in jobs}
    names = list(dict.fromkeys(name for options in own.values() for name in options))
    varied = [name for name in names if len({options.get(name) for options in own.values()}) > 1]
    rows = [{**{name: own[job].get(name, "") for name in {*varied, SEED}}, **_facts(job)} for job in jobs]
    objectives = _objectives(folder, jobs)
    shared = [word for word in jobs[0].overrides if word.partition("=")[0] not in {*varied, SEED}]
    options = tuple(name for name in varied if name != SEED)
    return Sweep(folder, tuple(shared), options, objectives, pd.DataFrame(rows))


def _runs_in(folder: Path) -> list[Job]:
    found = []
    for file in sorted(folder.glob("*/run.json")):
        record = read_json(file)
        if isinstance(record, dict):
            found.append(Job(tuple(record.get("overrides") or ()), file.parent.resolve()))
    return found


def _options(overrides: Sequence[str]) -> dict[str, str]:
    """Option → value of override words; what a search adds for itself is no option."""
    pairs = (word.partition("=") for word in overrides if not word.startswith("+callbacks.pruning"))
    return {name: value for name, _, value in pairs}


def _facts(job: Job) -> dict[str, Any]:
    record = job.record()
    spent = record.get("cpu_seconds") or {}
    facts: dict[str, Any] = {
        "status": job.status(), "folder": str(job.folder), "error": str(record.get("error") or ""),
        "cpu_seconds": sum(spent.values()) if isinstance(spent, dict) else None,
    }  # fmt: skip
    return {**facts, **_means(job.folder)} if facts["status"] == FINISHED else facts


def _means(folder: Path) -> dict[str, float]:
    """Mean of each metric over cases, of the last method: over structures where there are several."""
    try:
        rows = pd.read_csv(folder / "results.csv", usecols=["method", "structure", "metric", "value"])
    except (OSError, ValueError):
        return {}
    if rows.empty:
        return {}
    rows = rows[(rows["method"] == rows["method"].iloc[-1]) & rows["structure"].isin(["mean", "all"])]
    return {str(name): float(value) for name, value in rows.groupby("metric")["value"].mean().items()}


def _objectives(folder: Path, jobs: Sequence[Job]) -> tuple[str, ...]:
    """Names of the objectives: those of the search, else what the first run says."""
    memory = read_json(folder / MEMORY)
    named = memory.get("objectives") if isinstance(memory, dict) else None
    if not named:
        configured = next(
            (value for job in jobs if (value := config_of(job.folder).get("objective"))), "dice"
        )
        named = configured if isinstance(configured, list) else [configured]
    return tuple(str(name) for name in named)


def config_of(run: Path) -> dict[str, Any]:
    """Return config.yaml of a run folder, empty where there is none."""
    import yaml

    try:
        found = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):
        return {}
    return found if isinstance(found, dict) else {}


def sign_of(metric: str) -> float:
    """Return 1 where more is better, −1 where less is; 1 where neither is known."""
    return -1.0 if describe(metric).better == "lower" else 1.0
