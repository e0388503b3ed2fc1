"""Make a table: do what is missing, wave by wave, by whatever launcher was chosen."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from medreg.io.atomic import read_json, write_json
from medreg.io.lock import exclusive
from medreg.runs.code import changed
from medreg.studies.table.matching import match_rows
from medreg.studies.table.plan import TablePlan, UnitStanding
from medreg.studies.table.work import Request, Work
from medreg.study.job import run_units
from medreg.study.unit import Outcome, Unit

Starter = Callable[[Sequence[str]], int]  # takes the words of a multirun, returns an exit code
INTERRUPTED = 130


def make_table(
    plan: TablePlan,
    start: Starter,
    *,
    only: Sequence[str] = (),
    hydra: Sequence[str] = (),
    refresh: bool = False,
) -> None:
    """Do every unit that is missing or failed, and with `refresh` those that are stale.

    The same command goes on after a kill: finished runs are taken over, a run under way continues from its checkpoint.
    A second command on the same table waits for the first.

    Args:
        plan: the table.
        start: starts jobs, `medreg.config.application.launch` with the job.
        only: rows; what these need comes along.
        hydra: options of Hydra, such as `hydra/launcher=joblib`.
        refresh: do stale units again.
    """

    def launch(jobs: Sequence[Sequence[str]]) -> None:
        if jobs:
            _launch(plan.folder, jobs, start, hydra)

    with exclusive(plan.folder / "table.lock"):
        for wave in plan.waves(only):
            if plan.table.match != "none":
                match_rows(plan, [row for row in wave if plan.rows[row].of is None], launch)
            requests = plan.requests(wave)
            todo = [r for r in requests if _wanted(plan.standing(r), refresh=refresh)]
            works = {row: plan.work(row) for row in wave}
            launch(_jobs(plan, todo, works, refresh=refresh))
            _collect(plan, todo, works)


def _wanted(standing: UnitStanding, *, refresh: bool) -> bool:
    return standing.state in ("missing", "failed") or (refresh and standing.state == "stale")


def _jobs(
    plan: TablePlan, requests: Sequence[Request], works: dict[str, Work], *, refresh: bool
) -> list[list[str]]:
    """Return the options of every job that the launcher has to run."""
    jobs = []
    for request in requests:
        work, anew = works[request.row], _anew(plan, request, refresh=refresh)
        if work.launched and (anew or not work.finished(request.folder)):
            jobs.append([*request.overrides, *(["fresh=true"] if anew else [])])
    return jobs


def _anew(plan: TablePlan, request: Request, *, refresh: bool) -> bool:
    """Say whether a run begins again: one to refresh, or one that other code began and did not end.

    A refresh that was killed is continued: its folder no longer holds the run that the rows came from.
    """
    record = read_json(request.folder / "run.json") or {}
    if not record:
        return False
    other = bool(changed(record.get("code") or {}, request.code))
    if record.get("status") != "finished":
        return other
    found = plan.store.any(request.unit)
    return refresh and (other or (found is not None and found.cost.get("started") == record.get("started")))


def _launch(folder: Path, jobs: Sequence[Sequence[str]], start: Starter, hydra: Sequence[str]) -> None:
    """Start jobs through Hydra; what fails is found in the run folders."""
    with tempfile.TemporaryDirectory(prefix="medreg_table_") as place:
        file = write_json(Path(place) / "jobs.json", [list(job) for job in jobs])
        code = start(["-m", "hydra/sweeper=listed", f"hydra.sweeper.file={file}", *hydra])
    if code == INTERRUPTED:
        raise KeyboardInterrupt


def _collect(plan: TablePlan, requests: Sequence[Request], works: dict[str, Work]) -> None:
    by_id: dict[str, Request] = {request.unit.id: request for request in requests}

    def work(unit: Unit) -> Outcome:
        request = by_id[unit.id]
        done = works[request.row].collect(request)
        command = shlex.join(["medreg", "train", *request.overrides])
        facts: dict[str, Any] = {"folder": str(request.folder), "command": command, **done.cost}
        return replace(done, cost=facts)

    run_units([request.unit for request in requests], work, plan.store, again=True)
