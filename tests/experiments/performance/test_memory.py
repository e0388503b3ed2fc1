"""Memory and time of a call in a process of its own."""

from __future__ import annotations

import functools
import math
import sys

import numpy as np
import pytest
import torch

from experiments.performance.memory import cost_alone, cost_of


def make(mebibytes):
    return functools.partial(torch.ones, mebibytes * 2**18)


def fail():
    raise MemoryError


def make_failing():
    return fail


@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read from /proc")
def test_growth_is_what_the_call_allocates():
    assert cost_of(make(64)).mib == pytest.approx(64, abs=4)
    assert cost_of(make(64), calls=3).wall_s > 0


@pytest.mark.skipif(sys.platform != "linux", reason="glibc keeps freed memory")
def test_memory_freed_before_does_not_hide_growth():
    blocks = [np.ones(2**13) for _ in range(1000)]  # 64 KiB each: below what malloc maps by itself
    last = np.ones(2**13)  # stands above them, so that their pages stay when they are freed
    del blocks
    kept = []
    cost = cost_of(lambda: kept.extend(np.ones(2**13) for _ in range(1000)))
    assert len(kept) == 1000
    assert last.sum() == 2**13
    assert cost.mib == pytest.approx(62.5, abs=6)


@pytest.mark.slow
def test_a_process_that_dies_says_so():
    cost = cost_alone(make_failing, functools.partial(make, 1), threads=1, device="cpu")
    assert math.isnan(cost.mib)
    assert "died" in cost.note
