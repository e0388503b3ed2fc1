"""A classifier cannot tell one law from itself, and tells far ones apart."""

from __future__ import annotations

import numpy as np
import pytest
from hearts_by_hand import population

from medreg.metrics.hearts.two_sample import two_sample, wilson


def told_apart(frame, repeats=1):
    real, new = (frame[frame["source"] == source] for source in ("real", "generated"))
    return two_sample(real, new, folds=5, repeats=repeats, trees=30, seed=1)


def test_the_same_law_cannot_be_told_apart():
    found = told_apart(population(1, cases=120, samples=3), repeats=3)
    assert found.accuracy == pytest.approx(0.5, abs=0.09)
    assert found.low < 0.5 < found.high
    assert found.cases == 120


def test_far_laws_always_are():
    frame = population(2, cases=60, samples=2)
    frame.loc[frame["source"] == "generated", "lvm_g"] += 200
    found = told_apart(frame)
    assert found.accuracy > 0.98
    assert found.low > 0.9


def test_a_difference_of_spread_alone_is_seen():
    assert told_apart(population(3, cases=120, samples=2, spread=0.3)).accuracy > 0.7


def test_too_few_cases_say_nothing():
    assert told_apart(population(4, cases=9, samples=2)) is None


def test_a_heart_without_ejection_fraction_is_no_obstacle():
    frame = population(5, cases=30, samples=2)
    frame.loc[frame["source"] == "generated", "lvef_percent"] = np.nan
    assert told_apart(frame).accuracy > 0.9


def test_intervals_of_shares():
    low, high = wilson(0.5, 100)
    assert (low, high) == pytest.approx((0.4038, 0.5962), abs=1e-4)
