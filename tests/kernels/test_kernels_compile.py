"""Kernels are compiled when first called; their pieces and their errors do not depend on the threads."""

import ast
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from medreg.kernels import compile as module
from medreg.kernels.compile import available, kernel, pieces, run_chunks

needs_numba = pytest.mark.skipif(not available(), reason="numba is not installed")


@kernel
def scaled(value, factor):
    return value * factor


@kernel
def fill(start, stop, out):
    for index in range(start, stop):
        out[index] = scaled(index, 2.0)


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@needs_numba
@pytest.mark.parametrize("count", [1, 2])
def test_kernels_call_kernels_and_cover_the_range(threads, count):
    threads(count)
    out = np.full(200_000, -1.0)
    run_chunks(fill, out.size, out)
    np.testing.assert_array_equal(out, 2.0 * np.arange(out.size))
    np.testing.assert_array_equal(fill.python.__name__, "fill")


@pytest.mark.parametrize("count", [0, 1, 7, 33, 1000])
@pytest.mark.parametrize("work", [None, 10, 10**5, 10**8])
def test_pieces_cover_a_range_in_order_and_leave_small_work_whole(count, work):
    found = pieces(count, work=work)
    assert [index for start, stop in found for index in range(start, stop)] == list(range(count))
    assert len(found) <= 32
    assert work != 10 or len(found) <= 1


def test_pieces_do_not_depend_on_the_number_of_threads(threads):
    seen = {}
    for number in (1, 2, 3):
        threads(number)
        ranges: list[tuple[int, int]] = []
        run_chunks(lambda start, stop, ranges=ranges: ranges.append((start, stop)), 100, work=10**7)
        seen[number] = sorted(ranges)
    assert seen[1] == seen[2] == seen[3]
    assert len(seen[1]) == 32


@pytest.mark.parametrize("number", [1, 2])
def test_an_error_in_a_piece_is_raised_to_the_caller(threads, number):
    threads(number)

    def fails(start, stop):
        if start <= 50 < stop:
            raise ArithmeticError("piece")

    with pytest.raises(ArithmeticError, match="piece"):
        run_chunks(fails, 100, work=10**7)


def test_nested_and_concurrent_callers_finish(threads):
    threads(2)
    done = []

    def outer(start, stop):
        run_chunks(lambda low, high: done.append(high - low), 40, work=10**7)

    callers = [threading.Thread(target=run_chunks, args=(outer, 40), kwargs={"work": 10**7}) for _ in "ab"]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(20)
    assert sum(done) == 2 * 32 * 40


def test_a_child_forked_after_the_threads_started_has_threads_of_its_own():
    code = """
import os, sys, numpy, torch
from medreg.kernels.compile import run_chunks
torch.set_num_threads(2)
def add(start, stop, out): out[start:stop] += 1
out = numpy.zeros(100)
run_chunks(add, 100, out, work=10**7)
child = os.fork()
if child == 0:
    run_chunks(add, 100, out, work=10**7)
    os._exit(0 if (out == 2).all() else 3)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    assert subprocess.run([sys.executable, "-c", code], timeout=60, env=environment).returncode == 0


def test_the_environment_switches_kernels_off_and_absence_of_numba_does_too(monkeypatch):
    monkeypatch.setenv("MEDREG_KERNELS", "off")
    assert not available()
    monkeypatch.delenv("MEDREG_KERNELS")
    monkeypatch.setitem(sys.modules, "numba", None)
    module._numba.cache_clear()
    try:
        assert not available()
    finally:
        monkeypatch.undo()
        module._numba.cache_clear()


def test_importing_the_package_does_not_import_numba():
    code = "import sys, medreg.kernels.compile; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


@needs_numba
def test_kernels_compile_where_nothing_can_be_written(monkeypatch):
    import numba

    real = numba.njit

    def njit(*args, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return real(*args, **options)

    monkeypatch.setattr(numba, "njit", njit)
    assert kernel(lambda value: value + 1)(2) == 3


def test_kernels_call_kernels_of_their_own_file_alone():
    # compiled code on disk is renewed when its own file changes, not when another one does
    wrong = []
    for file in sorted(Path(module.__file__).parent.glob("*.py")):
        nodes = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        sources = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
        foreign = {source for source in sources if source.startswith("medreg.kernels")}
        if not foreign <= {"medreg.kernels.compile", "medreg.kernels.dispatch"}:
            wrong.append(f"{file.name}: {sorted(foreign)}")
    assert not wrong
