"""Turns, rounds and ratios."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.performance.timing import Budget, ratio, take_turns


def test_everyone_gets_rounds_and_the_first_call_does_not_count():
    calls = {"a": 0, "b": 0}

    def work(name):
        calls[name] += 1

    found = take_turns({name: lambda name=name: work(name) for name in calls}, budget=Budget(1.0, most=5))
    assert {name: len(samples.wall) for name, samples in found.items()} == {"a": 5, "b": 5}
    assert set(calls.values()) == {7}  # one warms up, one tells how many rounds fit


def test_a_slow_call_gets_fewer_rounds():
    budget = Budget(10.0, slow=2.0, least=3, most=40)
    assert [budget.rounds(seconds) for seconds in (0.1, 1.0, 2.5, 5.0, 20.0)] == [40, 10, 4, 2, 1]


def test_ratio_of_known_times():
    rng = np.random.default_rng(0)
    theirs = rng.normal(1.0, 0.01, 30)
    found = ratio(0.5 * theirs, theirs)
    assert found.median == pytest.approx(0.5)
    assert found.minimum == pytest.approx(0.5)
    assert found.low <= 0.5 <= found.high
    assert found.high - found.low < 0.02


def test_ratio_uses_common_rounds_only():
    found = ratio(np.array([1.0, 1.0, 9.0, 9.0]), np.array([2.0, 2.0]))
    assert (found.median, found.rounds) == (0.5, 2)
