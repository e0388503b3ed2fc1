"""Distances of samples with known answers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from medreg.metrics.hearts.distributions import BINS, FLOOR, distances, shares, wasserstein


def normal(mean, sd, count=200_000, seed=0):
    return np.random.default_rng(seed).normal(mean, sd, count)


def test_wasserstein_of_two_gaussians_is_their_shift():
    assert wasserstein(normal(100, 15), normal(112, 15, seed=1)) == pytest.approx(12, abs=0.15)
    assert wasserstein(np.array([0.0, 1.0]), np.array([5.0, 6.0])) == pytest.approx(
        5.0
    )  # raw values, not heights


def test_wasserstein_of_two_spreads():
    # W1 of N(0, s²) and N(0, t²) is |s − t| E|Z| = |s − t| √(2/π).
    assert wasserstein(normal(0, 10), normal(0, 14, seed=1)) == pytest.approx(
        4 * math.sqrt(2 / math.pi), abs=0.1
    )


def test_divergences_of_two_gaussians_are_near_those_of_their_densities():
    shift = 1.0  # SD
    found = distances(normal(0, 1), normal(shift, 1, seed=1))
    assert found.kl == pytest.approx(shift**2 / 2, rel=0.05)
    assert found.bhattacharyya == pytest.approx(shift**2 / 8, rel=0.05)
    assert found.js == pytest.approx(0.1113, abs=0.004)  # numerical integral of the two densities


def test_the_same_sample_is_at_no_distance_and_strangers_at_the_largest():
    one = normal(0, 1, 5000)
    found = distances(one, one)
    assert (found.kl, found.js, found.bhattacharyya) == pytest.approx((0, 0, 0), abs=1e-12)
    far = distances(one, normal(1000, 1, 5000))
    assert far.js == pytest.approx(math.log(2), abs=1e-3)
    assert far.kl > 5


def test_shares_are_those_of_fifty_bins_over_both_with_a_floor():
    p, q = shares(np.array([0.0] * 10), np.array([1.0] * 10))
    assert len(p) == BINS
    assert p.sum() == pytest.approx(1.0)
    assert p[0] == pytest.approx((1 + FLOOR) / (1 + BINS * FLOOR))
    assert q[0] == pytest.approx(FLOOR / (1 + BINS * FLOOR))


def test_nothing_is_at_no_known_distance():
    assert math.isnan(wasserstein(np.zeros(0), np.ones(3)))
    assert math.isnan(distances(np.array([np.nan]), np.ones(3)).kl)
    assert distances(np.ones(3), np.ones(4)).kl == pytest.approx(0)  # no spread at all
