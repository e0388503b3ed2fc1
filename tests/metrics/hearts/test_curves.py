"""Differences of curves with known answers."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from medreg.metrics.hearts.curves import curve_error, dtw


def test_error_is_the_mean_of_absolute_differences():
    assert curve_error(np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 0.0])) == pytest.approx(4 / 3)


def every_matching(n, m):
    """All monotone matchings of two curves as lists of pairs."""

    def onward(i, j):
        if (i, j) == (n - 1, m - 1):
            yield [(i, j)]
            return
        for di, dj in ((1, 0), (0, 1), (1, 1)):
            if i + di < n and j + dj < m:
                for rest in onward(i + di, j + dj):
                    yield [(i, j), *rest]

    return onward(0, 0)


def test_warped_distance_is_the_least_over_all_matchings():
    generator = np.random.default_rng(3)
    for n, m in itertools.product((2, 4), (3, 4)):
        one, other = generator.normal(size=n) * 5, generator.normal(size=m) * 5
        least = min(
            math.fsum(math.hypot(i - j, one[i] - other[j]) for i, j in pairs)
            for pairs in every_matching(n, m)
        )
        assert dtw(one, other) == pytest.approx(least)


def test_a_curve_is_at_no_distance_from_itself():
    curve = np.array([140.0, 90.0, 60.0, 100.0])
    assert dtw(curve, curve) == 0.0
