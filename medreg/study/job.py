"""The one job loop: do the units that are missing, keep what each found, note what failed, go on with the rest."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from medreg.errors import MedregError
from medreg.io.lock import exclusive
from medreg.study.store import Store
from medreg.study.unit import Outcome, Row, Unit

Work = Callable[[Unit], Iterable[Row] | Outcome]
Tell = Callable[["Progress"], None]


@dataclass(frozen=True)
class Progress:
    """How far a study is.

    Attributes:
        done: units that have an outcome now.
        total: units of the study.
        last: the outcome that came last, None where it was there before.
    """

    done: int
    total: int
    last: Outcome | None


def run_units(
    units: Sequence[Unit],
    work: Work,
    store: Store,
    *,
    workers: int = 1,
    retry: bool = False,
    again: bool = False,
    tell: Tell | None = None,
    stops: tuple[type[Exception], ...] = (),
    lock: Path | None = None,
) -> list[Outcome]:
    """Do every unit that has no outcome yet; a second command on the same store waits, then finds them done.

    Args:
        units: of the study.
        work: does one unit and returns its rows, or a whole outcome where it knows cost or failure itself. A
            `MedregError` becomes a failed outcome; any other error stops the study.
        store: keeps the outcomes.
        workers: units at a time, in threads: work that computes starts processes of its own.
        retry: do failed units again.
        again: do all units again.
        tell: told at the beginning and after every unit.
        stops: kinds of `MedregError` that concern the command and not the unit, such as a tool that is not
            installed; they stop the study and are not noted.
        lock: file that one command at a time holds; None locks the whole store. Commands that do different units of
            one store may hold different locks.

    Returns:
        One outcome a unit, in order. After Ctrl-C what has not begun never will, and what runs is not noted.
    """
    with exclusive(lock or store.file.with_suffix(".run.lock")):
        store.refresh()  # another command may have done units while this one waited
        missing = [unit for unit in units if again or _missing(store, unit, retry=retry)]
        done = len(units) - len(missing)
        if tell is not None:
            tell(Progress(done, len(units), None))
        with closing(_outcomes(missing, work, workers, stops)) as coming:
            for outcome in coming:
                store.add(outcome)
                done += 1
                if tell is not None:
                    tell(Progress(done, len(units), outcome))
    return [found for unit in units if (found := store.get(unit)) is not None]


def _missing(store: Store, unit: Unit, *, retry: bool) -> bool:
    found = store.get(unit)
    return found is None or (found.failed and retry)


def _outcomes(
    units: Sequence[Unit], work: Work, workers: int, stops: tuple[type[Exception], ...]
) -> Generator[Outcome]:
    if workers <= 1:
        for unit in units:
            yield _outcome(unit, work, stops, alone=True)
        return
    pool = ThreadPoolExecutor(max_workers=workers)
    try:
        for one in as_completed([pool.submit(_outcome, unit, work, stops, alone=False) for unit in units]):
            yield one.result()
    finally:  # after Ctrl-C nobody waits here for what runs: the study may have to end it first
        pool.shutdown(wait=False, cancel_futures=True)


def _outcome(unit: Unit, work: Work, stops: tuple[type[Exception], ...], *, alone: bool) -> Outcome:
    began, cpu = time.perf_counter(), sum(os.times()[:4])
    try:
        found = work(unit)
        if isinstance(found, Outcome):
            return found
        rows = tuple(found)
    except stops:
        raise
    except MedregError as error:
        return Outcome(unit.key, unit.digest, state="failed", error=str(error))
    cost = {"seconds": round(time.perf_counter() - began, 4)}
    if alone:  # the time of the process is that of all threads together
        cost["cpu_seconds"] = round(sum(os.times()[:4]) - cpu, 4)
    return Outcome(unit.key, unit.digest, rows, cost=cost)
