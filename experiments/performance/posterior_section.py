"""Section `posterior`: variational fits and Markov chains beside the authors' releases and the bare energy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

from experiments.performance.inputs import Inputs
from experiments.performance.measured_parity import measure_parity
from experiments.performance.measurements import Row
from experiments.performance.peers import all_peers
from experiments.performance.peers.ours import Ours
from experiments.performance.posterior_parity import differences
from experiments.performance.session import CONTENDER_ERRORS, Session
from experiments.performance.sizes import Size, parse_size
from experiments.performance.timing import Budget, take_turns
from experiments.performance.work import Contender, Inference, InferenceMaker
from medreg.kernels.allocator import keep_freed_memory

SECTION = "posterior"
NOTEBOOK, VI, TRANSITION, CHAINS = "notebook", "vi", "transition", "chains"
FULL_SIZES, QUICK_SIZES = ("64", "96"), ("24",)
CHAIN_SIZES, QUICK_CHAIN_SIZES = ("16", "24", "32", "64"), ("16",)
_PARITY = Size(1, (24, 24, 24))
_SMALL = Size(1, (16, 16, 16))  # loads code and starts threads


def run_posterior(session: Session) -> None:
    """The engine's notebook, a VI iteration, a transition and four chains, on one thread and on all."""
    keep_freed_memory()  # of all contenders alike: they share the process
    quick = session.settings.quick
    sizes = session.settings.sizes or (QUICK_SIZES if quick else FULL_SIZES)
    chain_sizes = session.settings.sizes or (QUICK_CHAIN_SIZES if quick else CHAIN_SIZES)
    measure_parity(session, SECTION, VI, _PARITY, differences)
    for threads in sorted({1, session.settings.threads}):
        with on_threads(threads):
            _measure(session, NOTEBOOK, None, threads)
            for item, at in ((VI, sizes), (TRANSITION, sizes), (CHAINS, chain_sizes)):
                for size in map(parse_size, at):
                    _measure(session, item, size, threads)


def mode_of(threads: int) -> str:
    """What a measurement on so many threads is called."""
    return f"{threads} thread" + "s" * (threads > 1)


def makers(contenders: list[Contender], item: str) -> Mapping[str, InferenceMaker]:
    """Makers of an item by the names of contenders, a variant after a comma."""
    found = {}
    for contender in contenders:
        for name, maker in contender.inference().items():
            kind, _, variant = name.partition(" ")
            if kind == item:
                found[f"{contender.name}, {variant}" if variant else contender.name] = maker
    return found


def _contenders(session: Session) -> list[Contender]:
    return [Ours(), *(peer for peer in all_peers(session.settings.release) if peer.missing is None)]


def _measure(session: Session, item: str, size: Size | None, threads: int) -> None:
    name, mode = size.name if size else "", mode_of(threads)
    if session.measured.has(SECTION, item, name, mode):
        return
    session.say(f"{item}{f' at {size.title}' if size else ''}, {mode}")
    contenders = _contenders(session)
    works, rows = _made(session, item, size, mode, contenders)
    if not works:
        session.measured.add(rows)
        return
    budget = Budget(1.0, slow=3.0) if session.settings.quick else Budget(8.0, slow=5.0)
    found = take_turns(
        {one: work.run for one, work in works.items()}, budget=budget, device=session.settings.device
    )
    versions = {contender.name: contender.version for contender in contenders}
    rows += session.timing_rows(found, section=SECTION, item=item, size=name, mode=mode, versions=versions)
    for one, work in works.items():
        rows += [Row(SECTION, item, name, one, mode, key, value) for key, value in work.figures().items()]
    session.measured.add(rows)
    for row in rows:
        if row.quantity in ("wall_s", "cpu_s", "wall_ratio", "cpu_ratio", "kl", "failed"):
            session.say(f"  {row.contender}: {row.quantity} {row.value:.4g} {row.note}")


def _made(
    session: Session, item: str, size: Size | None, mode: str, contenders: list[Contender]
) -> tuple[dict[str, Inference], list[Row]]:
    """The works that can be done, and a row for each that cannot."""
    works, rows = {}, []
    device = session.settings.device
    for one, maker in makers(contenders, item).items():
        try:
            if size is not None:
                maker(Inputs(_SMALL, device)).run()
            works[one] = maker(Inputs(size or _SMALL, device))
        except CONTENDER_ERRORS as error:
            reason = (str(error) or type(error).__name__).splitlines()[0][:100]
            name = size.name if size else ""
            rows.append(Row(SECTION, item, name, one, mode, "failed", float("nan"), note=reason))
    return works, rows


@contextmanager
def on_threads(number: int) -> Iterator[None]:
    """Let torch use so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
