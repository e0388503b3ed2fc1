"""Which jobs a multirun has, where each keeps its run folder, and how each ended."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from omegaconf import OmegaConf

from medreg.config.suggest import parse
from medreg.config.unchecked import compose_unchecked
from medreg.runs.identity import run_name

FINISHED = "finished"


@dataclass(frozen=True)
class Job:
    """One job of a sweep: its overrides and its run folder."""

    overrides: tuple[str, ...]
    folder: Path

    def status(self) -> str:
        """Return `finished`, `failed`, `interrupted`, `running` (stopped without a word) or `missing`."""
        record = self.record()
        return str(record.get("status", "missing"))

    def record(self) -> dict[str, object]:
        """Return run.json of the job, empty if there is none."""
        file = self.folder / "run.json"
        try:
            found = json.loads(file.read_text())
        except (OSError, json.JSONDecodeError):
            return {}
        return found if isinstance(found, dict) else {}


def plan(overrides: Sequence[str]) -> list[Job]:
    """Return every job of a grid sweep; empty for sweepers whose jobs are not known beforehand."""
    parsed = parse(overrides)
    if any(item.key_or_group == "hydra/sweeper" for item in parsed):
        return []
    if any(item.is_sweep_override() and not item.is_discrete_sweep() for item in parsed):
        return []
    jobs = []
    own = [item for item in parsed if not item.key_or_group.startswith("hydra")]
    hydra_own = [item.input_line for item in parsed if item.key_or_group.startswith("hydra.sweep")]
    for words in BasicSweeper.split_arguments(own, None)[0]:
        cfg = compose_unchecked([*words, *[line for line in hydra_own if line]], with_hydra=True)
        folder = Path(str(OmegaConf.select(cfg, "paths.outputs"))) / run_name(cfg)
        jobs.append(Job(tuple(words), folder.resolve()))
    return jobs


def report(jobs: Sequence[Job]) -> int:
    """Print a line a job and return 1 unless all finished."""
    from rich.console import Console
    from rich.table import Table

    common = set.intersection(*(set(job.overrides) for job in jobs)) if len(jobs) > 1 else set()
    table = Table(title="Sweep", caption=" ".join(w for w in jobs[0].overrides if w in common) or None)
    for title in ("#", "options", "status", "objective", "folder or reason"):
        table.add_column(title, overflow="fold")
    failed = 0
    for number, job in enumerate(jobs):
        record, status = job.record(), job.status()
        failed += status != FINISHED
        value = record.get("objective")
        told = str(job.folder) if status == FINISHED else str(record.get("error") or job.folder)
        table.add_row(
            str(number),
            " ".join(w for w in job.overrides if w not in common),
            status,
            "" if value is None else f"{value:.4f}",
            told,
        )
    console = Console()
    console.print(table)
    if failed:
        console.print(f"{failed} of {len(jobs)} jobs did not finish; the same command runs only those.")
    return int(failed > 0)
