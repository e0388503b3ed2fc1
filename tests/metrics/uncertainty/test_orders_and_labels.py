"""Sparsification, rank correlation, detection and the calibration of probabilities, by formula or another library."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from medreg.errors import DataError
from medreg.metrics.uncertainty.detection import auroc, detection_rows, gradient_size
from medreg.metrics.uncertainty.information import uncertainty_split
from medreg.metrics.uncertainty.labels import band_around, label_calibration
from medreg.metrics.uncertainty.reliability import (
    adaptive_ece,
    brier,
    nll,
    pooled,
    reliability,
    top_label,
)
from medreg.metrics.uncertainty.sparsification import sparsification, spearman

RANDOM = np.random.default_rng(0)


def test_sparsification_of_uniform_errors_has_the_closed_form():
    """Errors uniform in [0, 1]: the oracle keeps the mean 1 − f, chance keeps 1, the wrong order 1 + f."""
    error = RANDOM.permutation(np.linspace(0, 1, 20_001))
    right = sparsification(error, error)
    assert right.ause == 0
    assert right.ause_random == pytest.approx(0.5, abs=1e-3)
    assert right.curve == pytest.approx(1 - right.fractions, abs=1e-3)
    wrong = sparsification(error, -error)
    assert wrong.ause == pytest.approx(1.0, abs=1e-3)
    assert wrong.curve == pytest.approx(1 + wrong.fractions, abs=1e-3)


def test_area_lies_between_perfect_and_reversed_and_a_constant_is_chance():
    error = RANDOM.exponential(size=5000)
    noisy = sparsification(error, error + RANDOM.normal(size=5000))
    reverse = sparsification(error, -error)
    assert 0 < noisy.ause < noisy.ause_random < reverse.ause
    constant = sparsification(error, np.ones(5000))
    assert constant.ause == pytest.approx(constant.ause_random)
    assert constant.curve == pytest.approx(1.0)
    shuffled = sparsification(error, RANDOM.normal(size=5000))
    assert shuffled.ause == pytest.approx(shuffled.ause_random, abs=0.05)


def test_no_error_has_no_order():
    assert math.isnan(sparsification(np.zeros(5), np.arange(5.0)).ause)


def test_spearman_is_scipys():
    one = RANDOM.integers(0, 20, 500).astype(float)
    two = one + RANDOM.normal(scale=10, size=500).round()
    assert spearman(one, two) == pytest.approx(stats.spearmanr(one, two).statistic)
    assert math.isnan(spearman(one, np.ones(500)))


def test_auroc_is_the_statistic_of_mann_and_whitney():
    score, positive = RANDOM.integers(0, 9, 300).astype(float), RANDOM.random(300) < 0.3
    u = stats.mannwhitneyu(score[positive], score[~positive]).statistic
    assert auroc(score, positive) == pytest.approx(u / (positive.sum() * (~positive).sum()))
    by_hand = np.mean(
        [np.mean((s > score[~positive]) + 0.5 * (s == score[~positive])) for s in score[positive]]
    )
    assert auroc(score, positive) == pytest.approx(by_hand)
    assert math.isnan(auroc(score, np.zeros(300, bool)))


def test_detection_rows_stand_beside_chance_and_gradient():
    image = torch.zeros(1, 1, 24, 20)
    image[..., 10:] = 5.0
    wrong = torch.zeros(1, 1, 24, 20, dtype=torch.bool)
    wrong[..., 9:11] = True
    rows = detection_rows(wrong.double(), wrong, image, spacing_mm=torch.tensor([1.0, 2.0]))
    found = {row.metric: row.value for row in rows}
    assert found["auroc_sd"] == 1.0
    assert found["auroc_gradient"] == 1.0
    assert found["auroc_random"] == pytest.approx(0.5, abs=0.15)
    assert float(gradient_size(image, torch.tensor([1.0, 2.0])).max()) == pytest.approx(5.0 / 2 / 2)


def test_a_calibrated_classifier_has_a_small_ece():
    probability = RANDOM.random(100_000)
    outcome = RANDOM.random(100_000) < probability
    assert reliability(probability, outcome).ece < 0.01
    assert adaptive_ece(probability, outcome) < 0.01


def test_constant_confidence_of_08_with_accuracy_06_has_an_ece_of_02():
    outcome = np.arange(1000) < 600
    found = reliability(np.full(1000, 0.8), outcome)
    assert found.ece == pytest.approx(0.2)
    assert found.mce == pytest.approx(0.2)
    assert adaptive_ece(np.full(1000, 0.8), outcome) == pytest.approx(0.2)
    assert adaptive_ece(np.full(1000, 0.8), outcome[::-1]) == pytest.approx(0.2)


def test_bins_are_fifteen_of_equal_width_and_add_up():
    probability = np.array([0.0, 1 / 15, 1 / 15 + 1e-9, 1.0])
    found = reliability(probability, np.array([True, False, True, True]))
    assert len(found.count) == 15
    assert found.count.tolist() == [2, 1, *[0] * 11, 0, 1]
    parts = [reliability(RANDOM.random(50), RANDOM.random(50) < 0.5) for _ in range(4)]
    assert pooled(parts).count.sum() == 200
    assert pooled(parts).true == pytest.approx(sum(part.true for part in parts))


def test_scores_of_probabilities_by_hand():
    stated = np.array([[0.7, 0.2, 0.1], [0.0, 1.0, 0.0]])
    label = np.array([0, 2])
    assert brier(stated, label) == pytest.approx((0.09 + 0.04 + 0.01 + 0 + 1 + 1) / 2)
    assert nll(stated, label, samples=10) == pytest.approx(-(math.log(0.7) + math.log(0.05)) / 2)
    assert nll(stated, label) == math.inf
    confidence, right = top_label(stated, label)
    assert confidence.tolist() == [0.7, 1.0]
    assert right.tolist() == [True, False]


def test_entropy_splits_into_noise_and_disagreement():
    sure = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    found = uncertainty_split(sure.view(2, 2, 1))
    assert float(found.total) == pytest.approx(math.log(2))
    assert float(found.expected) == 0
    assert float(found.mutual) == pytest.approx(math.log(2))
    same = uncertainty_split(torch.full((4, 2, 1), 0.5))
    assert float(same.mutual) == pytest.approx(0, abs=1e-12)
    assert float(same.expected) == pytest.approx(math.log(2))


def square_label() -> torch.Tensor:
    label = torch.zeros(1, 1, 20, 24, dtype=torch.int64)
    label[..., 6:14, 8:16] = 3
    return label


def test_the_band_is_measured_in_mm():
    band = band_around(square_label(), [3], spacing_mm=torch.tensor([1.0, 2.0]), width_mm=2.0)[0, 0]
    assert band[4, 10]  # two voxels of 1 mm outside
    assert not band[3, 10]
    assert band[9, 7]  # one voxel of 2 mm outside
    assert not band[9, 6]
    assert not band[9, 11]  # in the middle
    assert not band_around(square_label(), [1], spacing_mm=torch.ones(2), width_mm=9.0).any()


def test_label_probabilities_that_are_the_truth():
    label = square_label()
    found = label_calibration(
        (label == 3).double(), label, {"heart": 3}, spacing_mm=torch.ones(2), band_mm=3.0, samples=50
    )
    values = {(row.structure, row.metric): row.value for row in found.rows}
    for metric in ("label_ece_top", "label_mce", "label_brier", "label_entropy", "label_nll"):
        assert values["all", metric] == pytest.approx(0, abs=1e-12)
    assert values["heart", "label_ece"] == values["mean", "label_ece"] == 0
    assert {count.kind for count in found.counts} == {"reliability", "reliability_top"}


def test_label_probabilities_drawn_from_themselves():
    generator = torch.Generator().manual_seed(0)
    stated = torch.rand(1, 1, 200, 200, generator=generator, dtype=torch.float64)
    label = (torch.rand(1, 1, 200, 200, generator=generator, dtype=torch.float64) < stated).long()
    found = label_calibration(stated, label, {"a": 1}, spacing_mm=torch.ones(2), band_mm=50.0)
    values = {row.metric: row.value for row in found.rows if row.structure in ("mean", "all")}
    assert values["label_ece"] < 0.01
    assert values["label_brier"] == pytest.approx(2 / 6, abs=0.01)  # 2 E[p (1 − p)]
    assert values["label_nll"] == pytest.approx(0.5, abs=0.01)  # E[entropy]
    assert values["label_entropy"] == pytest.approx(0.5, abs=0.01)


def test_numbers_that_are_no_probabilities_are_refused():
    label = square_label()
    with pytest.raises(DataError, match="shape"):
        label_calibration(torch.zeros(1, 2, 20, 24), label, {"a": 3}, spacing_mm=torch.ones(2), band_mm=2.0)
    with pytest.raises(DataError, match="add up"):
        label_calibration(
            torch.full((1, 1, 20, 24), 1.2), label, {"a": 3}, spacing_mm=torch.ones(2), band_mm=2.0
        )
    empty = label_calibration(
        torch.zeros(1, 1, 20, 24), torch.zeros_like(label), {"a": 3}, spacing_mm=torch.ones(2), band_mm=2.0
    )
    assert empty.rows == []
