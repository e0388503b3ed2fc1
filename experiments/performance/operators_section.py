"""Section `operators`: every operator of every package that has it, at every size."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from experiments.performance.inputs import Inputs
from experiments.performance.measurements import Row
from experiments.performance.memory import cost_alone
from experiments.performance.operators import OPERATORS, Floor
from experiments.performance.peers import all_peers
from experiments.performance.peers.ours import Ours
from experiments.performance.session import CONTENDER_ERRORS, OURS, Session
from experiments.performance.sizes import Size
from experiments.performance.timing import take_turns
from experiments.performance.work import Contender, Work, difference

SECTION = "operators"
FORWARD, BOTH = "forward", "forward+backward"
WINDOWS = (3, 5, 9, 15, 21)
METRICS = ("dice", "hd95", "hd95_area")  # of label maps, volumes only
_MOST_OF_MEMORY = 3_000_000  # voxels up to which memory is measured
_SMALL = 24  # voxels an axis of the call that loads code and starts threads before anything is counted


def run_operators(session: Session) -> None:
    """Measure, compare values, and write every row as soon as it is known."""
    peers = _present(session)
    for size in session.sizes:
        session.say(f"operators, {size.title}")
        for name in OPERATORS:
            if name not in METRICS or size.ndim == 3:
                _measure(session, name, Inputs(size, session.settings.device), peers)
    _windows(session, peers)


def _present(session: Session) -> list[Contender]:
    present = []
    for peer in all_peers():
        if peer.missing is None:
            present.append(peer)
        else:
            session.say(f"  {peer.name}: left out, {peer.missing}")
    return present


def _measure(
    session: Session, operator: str, inputs: Inputs, peers: list[Contender], *, item: str = ""
) -> None:
    item, size = item or operator, inputs.size
    if not session.measured.has(SECTION, item, size.name, FORWARD):
        works, rows = _works(operator, inputs, peers, item=item)
        session.measured.add(rows)
        _time(session, works, operator, inputs, item=item, mode=FORWARD)
    if session.measured.has(SECTION, item, size.name, BOTH) or operator in METRICS:
        return
    works, _ = _works(operator, inputs, peers, item=item)
    works = {name: work for name, work in works.items() if work.leaves}
    _time(session, works, operator, inputs, item=item, mode=BOTH)
    if size.voxels <= _MOST_OF_MEMORY:
        _memory(session, list(works), operator, inputs, item=item)


def _works(
    operator: str, inputs: Inputs, peers: list[Contender], *, item: str
) -> tuple[dict[str, Work], list[Row]]:
    """Contenders that run and agree with us, and a row about the value of each that was tried."""
    ours = Ours()
    works = {OURS: ours.operators()[operator](inputs)}
    expected = works[OURS].compared()
    rows = []
    for peer in peers:
        maker = peer.operators().get(operator)
        if maker is None:
            continue
        found, note = math.nan, ""
        if inputs.size.voxels > peer.limits.get(operator, inputs.size.voxels):
            note = "left out: takes half a minute a call or more memory than this machine has"
        else:
            try:
                work = maker(inputs)
                found, note = _agreement(work, expected, ndim=inputs.size.ndim)
            except CONTENDER_ERRORS as error:
                note = f"failed: {type(error).__name__}: {str(error).splitlines()[0][:100]}"
            else:
                if not note.startswith("left out"):
                    works[peer.name] = work
        rows.append(
            Row(
                SECTION, item, inputs.size.name, peer.name, "value", "difference", found, None, None,
                peer.version, note,
            )
        )  # fmt: skip
    return works, rows


def _agreement(work: Work, expected: NDArray[np.float64], *, ndim: int) -> tuple[float, str]:
    found = difference(expected, work.compared(), work.agreement, ndim=ndim)
    if found > work.agreement.tolerance:
        return found, f"left out: its value differs by {found:.2g}, more than {work.agreement.tolerance:.2g}"
    return found, work.agreement.reason


def _time(
    session: Session, works: Mapping[str, Work], operator: str, inputs: Inputs, *, item: str, mode: str
) -> None:
    calls = {
        name: work.only_forward if mode == FORWARD else work.with_backward for name, work in works.items()
    }
    found = take_turns(calls, budget=session.budget, device=session.settings.device)
    size, versions = inputs.size.name, {peer.name: peer.version for peer in (Ours(), *all_peers())
                                        if peer.name in works}  # fmt: skip
    rows = list(
        session.timing_rows(found, section=SECTION, item=item, size=size, mode=mode, versions=versions)
    )
    least = OPERATORS[operator].floor(inputs) if mode == FORWARD else OPERATORS[operator].both(inputs)
    floor = _seconds(session, least)
    rows.append(Row(SECTION, item, size, "floor", mode, "wall_s", floor, note=_bound(session, least)))
    session.measured.add(rows)
    others = {name: float(np.median(samples.wall)) for name, samples in found.items()}
    mine = others.pop(OURS)
    text = ", ".join(f"{name} {1e3 * seconds:.3g}" for name, seconds in others.items())
    session.say(f"  {item} {mode}: {1e3 * mine:.3g} ms, {mine / floor:.1f} × floor; {text}")


def _seconds(session: Session, floor: Floor) -> float:
    return max(floor.bytes / session.rates.bytes_per_s, floor.flops / session.rates.flops_per_s)


def _bound(session: Session, floor: Floor) -> str:
    moving = floor.bytes / session.rates.bytes_per_s
    return "memory" if moving >= floor.flops / session.rates.flops_per_s else "arithmetic"


def _memory(session: Session, names: list[str], operator: str, inputs: Inputs, *, item: str) -> None:
    small = replace(inputs, size=Size(inputs.size.batch, (_SMALL,) * inputs.size.ndim), window=3)
    for name in names:
        peak = cost_alone(
            partial(_call, name, operator, inputs),
            partial(_call, name, operator, small),
            threads=session.settings.threads,
            device=session.settings.device,
        )
        row = Row(SECTION, item, inputs.size.name, name, BOTH, "memory_mib", peak.mib, note=peak.note)
        session.measured.add([row])


def _call(contender: str, operator: str, inputs: Inputs) -> Callable[[], object]:
    """Forward and backward of a contender, ready to run; made in the process that is measured."""
    found = next(peer for peer in (Ours(), *all_peers()) if peer.name == contender)
    return found.operators()[operator](replace(inputs)).with_backward


def _windows(session: Session, peers: list[Contender]) -> None:
    """LNCC against the width of its window, for us and for MONAI."""
    size = Size(1, (40,) * 3 if session.settings.quick else (96,) * 3)
    session.say(f"LNCC windows, {size.title}")
    chosen = [peer for peer in peers if peer.name == "MONAI"]
    for window in WINDOWS:
        inputs = Inputs(size, session.settings.device, window=window)
        _measure(session, "lncc", inputs, chosen, item=f"lncc window {window}")
