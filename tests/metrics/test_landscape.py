"""Shapes of landscapes against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from medreg.metrics.landscape import correlation, far_field_fraction, lowest, monotony

VALUES = np.linspace(-90, 90, 13)


def test_far_field_of_a_cone_a_bowl_and_a_well():
    assert far_field_fraction(VALUES, np.abs(VALUES)) == pytest.approx(2 / 3)
    assert far_field_fraction(VALUES, VALUES**2) == pytest.approx(8 / 9)
    assert far_field_fraction(VALUES, (np.abs(VALUES) > 20).astype(float)) == pytest.approx(0, abs=1e-12)
    assert np.isnan(far_field_fraction(VALUES, np.ones(13)))


def test_far_field_is_the_mean_of_both_sides_and_interpolates():
    measure = np.where(VALUES < 0, -VALUES, np.minimum(VALUES, 20))
    assert far_field_fraction(VALUES, measure) == pytest.approx((2 / 3 + 0) / 2)


@pytest.mark.parametrize(
    "measure",
    [
        [0.0, 1.0, 0.0],  # ends where it began
        [2.0, 1.0, 0.5],  # falls on one side: one share alone would be no mean of both
        [-2.0, 0.0, -1.0],  # lower at both ends: the quotient of two falls is no share of a rise
    ],
)
def test_a_landscape_that_does_not_rise_has_no_far_field(measure):
    assert np.isnan(far_field_fraction([-1, 0, 1], measure))


def test_bias_is_where_the_minimum_lies():
    assert lowest(VALUES, (VALUES - 15) ** 2) == 15


def test_monotony_is_spearman():
    generator = np.random.default_rng(0)
    measure = np.abs(VALUES) + 20 * generator.normal(size=13)
    assert monotony(VALUES, measure) == pytest.approx(stats.spearmanr(np.abs(VALUES), measure).statistic)
    assert monotony(VALUES, np.abs(VALUES) ** 3) == pytest.approx(1)


def test_correlation_is_pearson():
    first, second = np.random.default_rng(1).normal(size=(2, 20))
    assert correlation(first, second) == pytest.approx(stats.pearsonr(first, second).statistic)
    assert np.isnan(correlation(first, np.ones(20)))
