"""Which jobs a multirun has, where each keeps its run folder, and how each ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medreg.errors import DataError
from medreg.io.atomic import read_json

FINISHED = "finished"
MEMORY = "sweep.json"


@dataclass(frozen=True)
class Job:
    """One job of a sweep: its overrides and its run folder."""

    overrides: tuple[str, ...]
    folder: Path

    def status(self) -> str:
        """Return `finished`, `failed`, `interrupted`, `running` (stopped without a word) or `missing`."""
        return str(self.record().get("status", "missing"))

    def record(self) -> dict[str, Any]:
        """Return run.json of the job, empty if there is none."""
        found = read_json(self.folder / "run.json")
        return found if isinstance(found, dict) else {}


def jobs_of(folder: Path) -> list[Job]:
    """Return the jobs of a sweep.

    Args:
        folder: of the sweep, the one that holds sweep.json.

    Raises:
        DataError: there is no such file, or it is damaged.
    """
    memory = read_json(folder / MEMORY)
    if not isinstance(memory, dict) or not isinstance(memory.get("jobs"), list):
        raise DataError(
            f"{folder} holds no whole {MEMORY}; give the folder of a sweep, or the sweep's options."
        )
    return [Job(tuple(one["overrides"]), Path(one["folder"])) for one in memory["jobs"]]


def common_of(jobs: Sequence[Job]) -> set[str]:
    """Return the overrides that all jobs share; none where there is one job."""
    return set.intersection(*(set(job.overrides) for job in jobs)) if len(jobs) > 1 else set()


def report(folder: Path) -> int:
    """Print a line a job and return 1 unless all finished; a search may have trials that failed."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    jobs = jobs_of(folder)
    common = common_of(jobs)
    table = Table(
        title="Sweep", caption=escape(" ".join(w for w in jobs[0].overrides if w in common)) or None
    )
    for title in ("#", "options", "status", "objective", "folder or reason"):
        table.add_column(title, overflow="fold")
    failed = 0
    for number, job in enumerate(jobs):
        record, status = job.record(), job.status()
        failed += status != FINISHED
        told = str(job.folder) if status == FINISHED else str(record.get("error") or job.folder)
        words = " ".join(w for w in job.overrides if w not in common)
        table.add_row(str(number), escape(words), status, _number(record.get("objective")), escape(told))
    console = Console()
    console.print(table)
    searching = (read_json(folder / MEMORY) or {}).get("kind") == "search"
    if failed and searching:
        console.print(f"{failed} of {len(jobs)} runs came to no result; the search went on without them.")
    elif failed:
        console.print(f"{failed} of {len(jobs)} jobs did not finish; the same command runs only those.")
    return int(failed > 0 and not searching)


def _number(value: Any) -> str:
    if value is None:
        return ""
    return ", ".join(f"{one:.4f}" for one in (value if isinstance(value, list) else [value]))
