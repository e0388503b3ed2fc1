"""Section `hearts`: a training step of CHeart beside the authors' release, and what the full grid needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from experiments.performance.heart_parity import differences
from experiments.performance.inputs import Inputs
from experiments.performance.measured_parity import measure_parity
from experiments.performance.measured_steps import measure_steps
from experiments.performance.measurements import Row
from experiments.performance.memory import cost_alone
from experiments.performance.peers import all_peers
from experiments.performance.peers.cheart_release import CHeartRelease
from experiments.performance.peers.ours import Ours
from experiments.performance.posterior_section import mode_of, on_threads
from experiments.performance.session import OURS, Session
from experiments.performance.sizes import Size, parse_size
from experiments.performance.steps_section import step_makers
from experiments.performance.timing import Budget
from experiments.performance.work import Contender
from medreg.kernels.allocator import keep_freed_memory

SECTION, ITEM, ALONE = "hearts", "cheart", "alone"
FULL_SIZES, QUICK_SIZES = ("4*32x32x16", "4*64x64x32", "128x128x64"), ("2*32x32x16",)
FULL_GRID = ("128x128x64", "2*128x128x64", "4*128x128x64")
SPARING = ("four frames", "checkpoint", "checkpoint four frames", "checkpoint bf16")
TURNS = Budget(15.0, slow=8.0, least=4)
_PARITY = Size(3, (32, 32, 16))
_SMALL = Size(2, (32, 32, 16))  # loads code and starts threads


def run_hearts(session: Session) -> None:
    """Agreement of values, time of every step, and memory and time of the full grid in processes of their own."""
    keep_freed_memory()  # of all contenders alike: they share the process
    measure_parity(session, SECTION, ITEM, _PARITY, differences)
    sizes = session.settings.sizes or (QUICK_SIZES if session.settings.quick else FULL_SIZES)
    for threads in sorted({1, session.settings.threads}):
        with on_threads(threads):
            for size in map(parse_size, sizes):
                measure_steps(session, SECTION, ITEM, size, mode_of(threads), TURNS)
    if session.settings.quick or session.settings.sizes:
        return
    for size in map(parse_size, FULL_GRID):
        names = [f"{OURS}, {variant}" for variant in SPARING]
        if size.batch == 1:
            given = any(CHeartRelease.recognises(folder) for folder in session.settings.release)
            names += [OURS, CHeartRelease.name] if given else [OURS]
        for name in names:
            _alone(session, size, name)


def _alone(session: Session, size: Size, name: str) -> None:
    """Peak memory and time of some steps of a contender in a process of its own."""
    mode = f"{ALONE}, {name}"
    if session.measured.has(SECTION, ITEM, size.name, mode):
        return
    session.say(f"{name} at {size.title}, alone")
    settings = session.settings
    cost = cost_alone(
        partial(_made, name, size, settings.device, settings.release),
        partial(_made, name, _SMALL, settings.device, settings.release),
        threads=settings.threads, device=settings.device, calls=2,
    )  # fmt: skip
    values = {"memory_mib": cost.mib, "wall_s": cost.wall_s, "cpu_s": cost.cpu_s}
    session.measured.add(
        [
            Row(SECTION, ITEM, size.name, name, mode, key, value, note=cost.note)
            for key, value in values.items()
        ]
    )
    session.say(f"  {cost.mib:.0f} MiB, {cost.wall_s:.1f} s, CPU {cost.cpu_s:.1f} s {cost.note}")


def _made(name: str, size: Size, device: str, release: Sequence[Path]) -> Callable[[], object]:
    """The step of a contender, ready to run; made in the process that is measured."""
    contenders: list[Contender] = [Ours(), *all_peers(release)]
    maker = step_makers([each for each in contenders if each.missing is None], ITEM)[name]
    return maker(Inputs(size, device)).run
