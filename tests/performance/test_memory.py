"""Memory and time of a call in a process of its own."""

from __future__ import annotations

import functools
import math
import sys

import pytest
import torch

from medreg.performance.memory import cost_alone, cost_of


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


@pytest.mark.slow
def test_a_process_that_dies_says_so():
    cost = cost_alone(make_failing, functools.partial(make, 1), threads=1, device="cpu")
    assert math.isnan(cost.mib)
    assert "died" in cost.note
