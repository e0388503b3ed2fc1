"""The job loop: what is missing is done, what fails is noted, what was stopped is not."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console

from medreg.errors import ConfigError, DataError, MissingExtra
from medreg.study.job import Progress, run_units
from medreg.study.progress import progress_line, tell_failures
from medreg.study.store import Store
from medreg.study.unit import Outcome, Unit

REPOSITORY = Path(__file__).resolve().parents[2]


def units(count: int, digest: str = "a") -> list[Unit]:
    return [Unit({"n": number}, digest) for number in range(count)]


class Work:
    """Squares of numbers; some of them fail."""

    def __init__(self, *bad: int, error: type[Exception] = DataError) -> None:
        self.bad, self.error, self.done = bad, error, []

    def __call__(self, unit: Unit):
        self.done.append(unit.key["n"])
        if unit.key["n"] in self.bad:
            raise self.error(f"no {unit.key['n']}")
        yield {"square": unit.key["n"] ** 2}


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "study.jsonl")


@pytest.mark.parametrize("workers", [1, 3])
def test_what_is_there_is_not_done_again(store, workers):
    work = Work()
    found = run_units(units(5), work, store, workers=workers)
    assert [one.rows[0]["square"] for one in found] == [0, 1, 4, 9, 16]
    assert all(one.cost["seconds"] >= 0 for one in found)
    # CPU time is the process's: nobody's alone where several units run at once.
    assert all(("cpu_seconds" in one.cost) == (workers == 1) for one in found)
    run_units(units(7), work, Store(store.file), workers=workers)
    assert sorted(work.done) == list(range(7))
    run_units(units(2), work, store, again=True)
    assert sorted(work.done) == sorted([*range(7), 0, 1])


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failure_costs_its_unit_and_is_kept_until_retry(store, workers):
    work = Work(1)
    found = run_units(units(3), work, store, workers=workers)
    assert [(one.failed, one.error) for one in found] == [(False, ""), (True, "no 1"), (False, "")]
    run_units(units(3), work, store)
    assert sorted(work.done) == [0, 1, 2]
    work.bad = ()
    assert not any(one.failed for one in run_units(units(3), work, store, retry=True))
    assert sorted(work.done) == [0, 1, 1, 2]


def test_a_stale_unit_is_done_again(store):
    work = Work(1)
    run_units(units(2), work, store)
    run_units(units(2, "b"), work, store)
    assert work.done == [0, 1, 0, 1]  # a failure too
    assert len(store) == 2


def test_a_unit_that_lost_its_file_is_done_again(store, tmp_path):
    file, work = tmp_path / "field", Work()
    one = Unit({"n": 0}, "a", (file,))
    file.touch()
    run_units([one], work, store)
    file.unlink()
    assert run_units([one], work, store) == []  # the work did not make it
    assert work.done == [0, 0]


def test_work_may_return_its_own_outcome(store):
    (found,) = run_units(
        units(1), lambda one: Outcome(one.key, one.digest, cost={"cpu_seconds": 9.0}, error="early"), store
    )
    assert (found.cost, found.error, found.failed) == ({"cpu_seconds": 9.0}, "early", False)


@pytest.mark.parametrize("workers", [1, 2])
def test_what_concerns_the_command_stops_it(store, workers):
    with pytest.raises(MissingExtra, match="no 1"):
        run_units(
            units(3), Work(1, error=MissingExtra), store, stops=(ConfigError, MissingExtra), workers=workers
        )
    assert store.get(units(3)[1]) is None
    with pytest.raises(ZeroDivisionError):  # a fault of the program is no failed unit
        run_units(units(3), Work(1, error=ZeroDivisionError), store, workers=workers)
    assert store.get(units(3)[1]) is None


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_begins_nothing_more(store, workers):
    work = Work()

    def stop(progress: Progress) -> None:
        if progress.done == 2:
            raise KeyboardInterrupt

    def slow(one: Unit):
        time.sleep(0.05)
        return work(one)

    with pytest.raises(KeyboardInterrupt):
        run_units(units(20), slow, store, tell=stop, workers=workers)
    begun = len(work.done)
    time.sleep(0.2)
    assert len(work.done) <= begun + workers
    assert len(Store(store.file)) == 2  # what ran is not noted
    assert len(run_units(units(20), work, store)) == 20  # the lock is free
    assert len(Store(store.file)) == 20


def test_a_killed_study_repeats_nothing(tmp_path):
    """`kill -9` between and within units: the next command does the rest, each unit has its rows once."""
    code = """
import sys, time
from pathlib import Path
from medreg.study.job import run_units
from medreg.study.store import Store
from medreg.study.unit import Unit
folder = Path(sys.argv[1])
def work(unit):
    with (folder / "begun").open("a") as stream:
        stream.write(f"{unit.key['n']}\\n")
    time.sleep(0.02)
    return [{"square": unit.key["n"] ** 2}]
run_units([Unit({"n": n}) for n in range(30)], work, Store(folder / "study.jsonl"))
"""
    path = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    words = [sys.executable, "-c", code, str(tmp_path)]
    kills = 0
    for pause in (0.05, 0.21, 0.33, None):
        process = subprocess.Popen(words, env={**os.environ, "PYTHONPATH": path})
        if pause is None:
            assert process.wait(60) == 0
            break
        deadline, before = time.monotonic() + 60, _lines(tmp_path / "begun")
        while _lines(tmp_path / "begun") == before and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        kills += process.wait(10) == -signal.SIGKILL
    begun = (tmp_path / "begun").read_text().split()
    assert sorted(set(map(int, begun))) == list(range(30))
    assert kills >= 1
    assert len(begun) <= 30 + kills  # only what was under way is repeated
    assert Store(tmp_path / "study.jsonl").frame()["square"].tolist() == [n**2 for n in range(30)]


def _lines(file: Path) -> int:
    return len(file.read_text().splitlines()) if file.is_file() else 0


def test_a_second_command_waits_and_finds_everything_done(store):
    work, entered, let_go = Work(), threading.Event(), threading.Event()

    def slow(one: Unit):
        entered.set()
        let_go.wait(20)
        return work(one)

    first = threading.Thread(target=run_units, args=(units(3), slow, Store(store.file)))
    first.start()
    assert entered.wait(20)
    second = threading.Thread(target=run_units, args=(units(3), work, store))
    second.start()
    time.sleep(0.1)
    assert second.is_alive()
    let_go.set()
    for thread in (first, second):
        thread.join(20)
    assert sorted(work.done) == [0, 1, 2]


def test_commands_with_locks_of_their_own_share_a_store(store, tmp_path):
    entered, let_go = threading.Event(), threading.Event()

    def slow(one: Unit):
        entered.set()
        let_go.wait(20)
        return [{"x": 1}]

    options = {"lock": tmp_path / "one.lock"}
    first = threading.Thread(target=run_units, args=(units(1), slow, Store(store.file)), kwargs=options)
    first.start()
    assert entered.wait(20)
    run_units([Unit({"n": 9})], Work(), store, lock=tmp_path / "two.lock")  # does not wait
    let_go.set()
    first.join(20)
    assert len(Store(store.file)) == 2


def test_progress_and_failures_are_told(store):
    console = Console(file=io.StringIO(), width=200, force_terminal=True)
    told: list[Progress] = []
    with progress_line(console, "squares") as tell:

        def both(progress: Progress) -> None:
            tell(progress)
            told.append(progress)

        found = run_units(units(6), Work(0, 1, 2, 3), store, tell=both)
    assert [(one.done, one.total) for one in told] == [(number, 6) for number in range(7)]
    assert told[0].last is None
    assert "squares" in console.file.getvalue()
    plain = Console(file=io.StringIO(), width=200)
    tell_failures(plain, found)
    text = plain.file.getvalue()
    assert "no 2" in text
    assert "no 3" not in text
    assert "and 1 more; retry=true" in text
    quiet = Console(file=io.StringIO())
    tell_failures(quiet, found[4:])
    assert quiet.file.getvalue() == ""
