"""Rows that cost the same: give each as many steps, or as much CPU time of training, as the reference had.

CPU time: two short trainings of a row's model, of `probe_steps` steps, say what one step costs without the start-up.
The reference's CPU seconds of training divided by that are the row's steps, rounded to whole epochs of the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from medreg.errors import ConfigError
from medreg.io.digest import digest_of
from medreg.studies.table.plan import TablePlan, merged
from medreg.studies.table.run_folder import read_outcome
from medreg.studies.table.work import TrainingWork, as_override
from medreg.study.unit import Outcome, Unit

Launch = Callable[[Sequence[Sequence[str]]], None]


def match_rows(plan: TablePlan, rows: Sequence[str], launch: Launch | None) -> None:
    """Set the options of rows that make them cost what the reference cost.

    Args:
        plan: whose reference has been trained; `plan.matched` is filled.
        rows: to be matched.
        launch: runs jobs; None measures nothing and leaves rows that have not been measured as they are.

    Raises:
        ConfigError: the reference has no training to match.
    """
    table = plan.table
    assert table.reference is not None
    found = plan.store.any(plan.requests([table.reference])[0].unit)
    if found is None or found.failed:
        return
    steps, cpu = found.cost.get("steps"), found.cost.get("cpu_seconds")
    if not steps or not cpu:
        raise plan.source.error(
            ("match",), f"the reference {table.reference} trains nothing to be matched to."
        )
    epoch = max(int(steps) // max(int(found.cost.get("epochs") or 1), 1), 1)
    for row in rows:
        if row == table.reference or row in plan.matched:
            continue
        wanted = int(steps)
        if table.match == "cpu_time":
            cost = _step_cost(plan, row, launch, digest_of(steps, cpu))
            if cost is None:
                continue
            wanted = max(round(float(cpu) / cost / epoch), 1) * epoch
        plan.matched[row] = (f"trainer.max_steps={wanted}", "trainer.max_epochs=-1")


def _step_cost(plan: TablePlan, row: str, launch: Launch | None, reference: str) -> float | None:
    """Return the CPU seconds of a step; kept, so that the same command gives the row the same steps again."""
    unit = Unit({"row": row, "seed": "probe"}, digest_of(plan.overrides(row), reference))
    found = plan.store.get(unit)
    if found is None:
        if launch is None:
            return None
        found = _probe(plan, row, unit, launch)
        plan.store.add(found)
    if found.failed:
        return None
    return float(found.rows[0]["value"])


def _probe(plan: TablePlan, row: str, unit: Unit, launch: Launch) -> Outcome:
    work, spent = TrainingWork(), []
    jobs = []
    for steps in plan.table.probe_steps:
        words = [f"trainer.max_steps={steps}", "trainer.max_epochs=-1", "trainer.limit_val_batches=0"]
        words = merged([*plan.overrides(row), *words, "trainer.limit_test_batches=1", "report=false"])
        cfg = work.compose(words)
        jobs.append((steps, [*words, as_override("seed", cfg.seed)], work.folder(cfg, plan.folder)))
    launch([words for _, words, folder in jobs if not work.finished(folder)])
    for steps, _, folder in jobs:
        found = read_outcome(folder)
        if found.failed or found.cost.get("cpu_seconds") is None:
            return Outcome(unit.key, unit.digest, state="failed", error=found.error or "nothing is trained")
        spent.append((steps, float(found.cost["cpu_seconds"])))
    (few, less), (many, more) = spent
    if more <= less:
        raise ConfigError(
            f"{plan.place}: {many} steps of {row} cost no more CPU time than {few}: raise probe_steps."
        )
    row_of = {"case": "", "structure": "", "metric": "cpu_seconds of a step", "unit": "s"}
    return Outcome(unit.key, unit.digest, rows=({**row_of, "value": (more - less) / (many - few)},))
