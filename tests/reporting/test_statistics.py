from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from medreg.reporting.statistics import bootstrap_mean, compare, wilcoxon


def test_wilcoxon_of_all_positive_differences_has_the_exact_p():
    assert wilcoxon(np.arange(1.0, 9.0)) == pytest.approx(2 / 2**8)


def test_wilcoxon_agrees_with_scipy_on_many_pairs():
    differences = np.random.default_rng(0).normal(0.3, 1, 80)
    assert wilcoxon(differences) == pytest.approx(stats.wilcoxon(differences).pvalue, rel=1e-6)


def test_too_few_pairs_have_no_p_and_no_difference_has_p_one():
    assert np.isnan(wilcoxon(np.arange(5.0)))
    assert wilcoxon(np.zeros(9)) == 1.0


def test_bootstrap_interval_agrees_with_the_normal_one_for_many_cases():
    values = np.random.default_rng(0).normal(2, 1, 400)
    interval = bootstrap_mean(values)
    half = 1.96 * values.std(ddof=1) / 20
    assert interval.mean == pytest.approx(values.mean())
    assert (interval.low, interval.high) == pytest.approx(
        (values.mean() - half, values.mean() + half), abs=0.015
    )


def test_bootstrap_of_one_value_has_no_interval():
    interval = bootstrap_mean(np.array([3.0, np.nan]))
    assert (interval.mean, interval.n) == (3.0, 1)
    assert np.isnan(interval.low)


def test_comparison_pairs_by_case_and_ignores_undefined(rows, frame):
    results = frame(
        rows([4.0, 3.0, np.nan], metric="hd95_mm"), rows([5.0, 5.0, 5.0, 9.0], metric="hd95_mm", method="b")
    )
    test = compare(
        results.sample(frac=1, random_state=0),
        metric="hd95_mm",
        structure="mean",
        method="net",
        reference="b",
    )
    assert (test.difference.mean, test.difference.n, test.better) == (-1.5, 2, 1.0)
    assert "−1.50" in test.sentence()


def test_comparison_without_common_case_is_none(rows, frame):
    assert compare(frame(rows([1.0])), metric="dice", structure="mean", method="net", reference="b") is None
