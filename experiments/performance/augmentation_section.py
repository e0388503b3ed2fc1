"""Section `augmentation`: a supervised step with an adversarial chain beside the authors' release and a plain step."""

from __future__ import annotations

from experiments.performance.advchain_parity import differences
from experiments.performance.inputs import Inputs
from experiments.performance.measured_parity import measure_parity
from experiments.performance.measurements import Row
from experiments.performance.posterior_section import mode_of, on_threads
from experiments.performance.session import CONTENDER_ERRORS, Session
from experiments.performance.sizes import Size, parse_size
from experiments.performance.steps_section import present, step_makers
from experiments.performance.timing import Budget, take_turns
from experiments.performance.work import TrainingStep
from medreg.kernels.allocator import keep_freed_memory

SECTION, ITEM, PLAIN = "augmentation", "advchain", "plain step"
FULL_SIZES, QUICK_SIZES = ("4*192x192", "10*112x112"), ("2*64x64",)
_PARITY = Size(2, (64, 64))


def run_augmentation(session: Session) -> None:
    """Agreement of values, then time of every step, on one thread and on all."""
    keep_freed_memory()  # of all contenders alike: they share the process
    measure_parity(session, SECTION, ITEM, _PARITY, differences)
    sizes = session.settings.sizes or (QUICK_SIZES if session.settings.quick else FULL_SIZES)
    for threads in sorted({1, session.settings.threads}):
        with on_threads(threads):
            for size in map(parse_size, sizes):
                _measure(session, size, mode_of(threads))


def _measure(session: Session, size: Size, mode: str) -> None:
    if session.measured.has(SECTION, ITEM, size.name, mode):
        return
    session.say(f"{ITEM} at {size.title}, {mode}")
    contenders, steps = present(session), dict[str, TrainingStep]()
    rows: list[Row] = []
    for name, maker in step_makers(contenders, ITEM).items():
        try:
            steps[name] = maker(Inputs(size, session.settings.device))
            steps[name].run()
        except CONTENDER_ERRORS as error:
            reason = (str(error) or type(error).__name__).splitlines()[0][:100]
            rows.append(Row(SECTION, ITEM, size.name, name, mode, "failed", float("nan"), note=reason))
            steps.pop(name, None)
    budget = Budget(1.0, slow=3.0) if session.settings.quick else Budget(20.0, slow=10.0, least=5)
    if steps:
        found = take_turns(
            {name: step.run for name, step in steps.items()}, budget=budget, device=session.settings.device
        )
        versions = {contender.name: contender.version for contender in contenders}
        rows += session.timing_rows(
            found, section=SECTION, item=ITEM, size=size.name, mode=mode, versions=versions
        )
    session.measured.add(rows)
    for row in rows:
        if row.quantity in ("wall_s", "cpu_s", "wall_ratio", "cpu_ratio", "failed"):
            session.say(f"  {row.contender}: {row.quantity} {row.value:.4g} {row.note}")
