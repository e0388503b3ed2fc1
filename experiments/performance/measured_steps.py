"""A training step of all contenders, timed in turns."""

from __future__ import annotations

from experiments.performance.inputs import Inputs
from experiments.performance.measurements import Row
from experiments.performance.session import CONTENDER_ERRORS, Session
from experiments.performance.sizes import Size
from experiments.performance.steps_section import present, step_makers
from experiments.performance.timing import Budget, take_turns
from experiments.performance.work import TrainingStep


def measure_steps(session: Session, section: str, item: str, size: Size, mode: str, budget: Budget) -> None:
    """Time the step of every contender that has one, and say which failed and why; nothing if it is known already.

    Args:
        session: settings, contenders and what was measured before.
        section: of the bench.
        item: name of the step.
        size: of its inputs.
        mode: how many threads.
        budget: of the turns; a quick session has its own.
    """
    if session.measured.has(section, item, size.name, mode):
        return
    session.say(f"{item} at {size.title}, {mode}")
    contenders, steps = present(session), dict[str, TrainingStep]()
    rows: list[Row] = []
    for name, maker in step_makers(contenders, item).items():
        try:
            steps[name] = maker(Inputs(size, session.settings.device))
            steps[name].run()
        except CONTENDER_ERRORS as error:
            reason = (str(error) or type(error).__name__).splitlines()[0][:100]
            rows.append(Row(section, item, size.name, name, mode, "failed", float("nan"), note=reason))
            steps.pop(name, None)
    if steps:
        works = {name: step.run for name, step in steps.items()}
        turns = Budget(1.0, slow=3.0) if session.settings.quick else budget
        found = take_turns(works, budget=turns, device=session.settings.device)
        versions = {contender.name: contender.version for contender in contenders}
        rows += session.timing_rows(
            found, section=section, item=item, size=size.name, mode=mode, versions=versions
        )
    session.measured.add(rows)
    for row in rows:
        if row.quantity in ("wall_s", "cpu_s", "wall_ratio", "cpu_ratio", "failed"):
            session.say(f"  {row.contender}: {row.quantity} {row.value:.4g} {row.note}")
