"""One case: rows and counts of a displacement in 2-D and 3-D, with masks; recalibration; errors over cases."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from medreg.errors import DataError, NumericalError
from medreg.metrics.uncertainty.case import Predicted, displacement_calibration, names
from medreg.metrics.uncertainty.intervals import coverage_of_sizes, gaussian_coverage, size_counts
from medreg.metrics.uncertainty.over_cases import bootstrap, floor_of_error, mean_over_cases
from medreg.metrics.uncertainty.ranks import rank_of
from medreg.metrics.uncertainty.recalibration import fit_factor, fit_levels, fit_temperature, tempered
from medreg.metrics.uncertainty.regression import regression_calibration
from medreg.metrics.uncertainty.reliability import reliability, top_label
from medreg.metrics.uncertainty.table import COLUMNS, KINDS, rows_for
from medreg.reporting.vocabulary import METRICS

SAMPLES = 24


def case(shape: tuple[int, ...], *, factor: float = 1.0, seed: int = 0) -> tuple[Predicted, torch.Tensor]:
    """A truth and samples of one law whose SD varies over the image; the stated SD is `factor` times the true one."""
    generator = torch.Generator().manual_seed(seed)
    dims = len(shape)
    sigma = 0.2 + 2 * torch.rand(1, 1, *shape, generator=generator, dtype=torch.float64)

    def drawn(*lead: int) -> torch.Tensor:
        return torch.randn(*lead, 1, dims, *shape, generator=generator, dtype=torch.float64)

    centre, truth, draws = drawn(1)[0], drawn(1)[0], drawn(SAMPLES)
    truth = centre + sigma * truth
    draws = centre + factor * sigma * draws
    eye = torch.eye(dims, dtype=torch.float64).view(1, dims, dims, *[1] * dims)
    covariance = eye * (factor * sigma).square().unsqueeze(1)
    predicted = Predicted(
        mean=centre,
        std=(factor * sigma).expand_as(centre),
        covariance=covariance,
        ranks=rank_of(draws, truth),
        samples=SAMPLES,
        probe=draws[:, 0, :, 3].reshape(SAMPLES, dims, -1).mT,
        probe_truth=truth[0, :, 3].reshape(dims, -1).mT,
    )
    return predicted, truth


def values(found) -> dict[str, float]:
    return {row.metric: row.value for row in found.rows}


@pytest.mark.parametrize("shape", [(40, 36), (18, 20, 22)])
def test_a_perfect_prediction(shape):
    predicted, truth = case(shape)
    spacing = torch.tensor([0.7, 1.5, 2.0][: len(shape)])
    found = values(displacement_calibration(predicted, truth, spacing_mm=spacing))
    assert found["calibration_error"] < 0.015
    assert found["calibration_error_ranks"] < 0.015
    assert found["rank_deviation"] < 0.06
    assert found["z_rms"] == pytest.approx(1, abs=0.04)
    assert found["nees"] == pytest.approx(1, abs=0.06)
    assert found["coverage_90_percent"] == pytest.approx(90, abs=2)
    assert 0.3 < found["spearman_sd_error"] < 1
    assert found["ause"] < found["ause_random"]
    assert found["zero_sd_percent"] == 0
    assert found["sharpness_mm"] == pytest.approx(
        float((predicted.std * spacing.view(1, -1, *[1] * len(shape))).mean()), rel=1e-5
    )


def test_every_metric_has_a_printed_name_and_every_kind_is_described():
    predicted, truth = case((12, 14))
    found = displacement_calibration(predicted, truth, spacing_mm=torch.ones(2))
    assert [row.metric for row in found.rows] == list(names())
    assert set(names()) <= set(METRICS)
    assert {count.kind for count in found.counts} <= set(KINDS)
    assert tuple(rows_for("vi", found.counts)[0]) == ("method", *COLUMNS)


def test_a_factor_of_the_sd_moves_every_figure_as_it_must():
    predicted, truth = case((16, 18, 20), factor=0.5)
    found = values(displacement_calibration(predicted, truth, spacing_mm=torch.ones(3)))
    assert found["z_rms"] == pytest.approx(2, abs=0.05)
    assert found["nees"] == pytest.approx(4, abs=0.2)
    assert found["coverage_bias"] < -0.15
    assert found["calibration_error"] == pytest.approx(-found["coverage_bias"])


def test_a_mask_keeps_what_it_keeps_and_counts_add_up():
    predicted, truth = case((18, 20))
    mask = torch.zeros(1, 1, 18, 20, dtype=torch.uint8)
    mask[..., 5:12, :] = 1
    wrong = truth.clone()
    wrong[..., :5, :] += 100
    spacing = torch.ones(2)
    inside = displacement_calibration(predicted, wrong, spacing_mm=spacing, mask=mask)
    assert values(inside)["calibration_error"] < 0.1
    for kind in ("coverage", "coverage_ranks"):
        assert {count.count for count in inside.counts if count.kind == kind} == {2 * 7 * 20}
    for kind in ("size", "transform", "ranks"):
        assert sum(c.observed for c in inside.counts if c.kind == kind) == pytest.approx(2 * 7 * 20)
    whole = displacement_calibration(predicted, truth, spacing_mm=spacing)
    parts = [displacement_calibration(predicted, truth, spacing_mm=spacing, mask=m) for m in (mask, 1 - mask)]
    for place, count in enumerate(c for c in whole.counts if c.kind == "coverage"):
        halves = [[c for c in part.counts if c.kind == "coverage"][place] for part in parts]
        assert sum(half.observed for half in halves) == count.observed


def test_millimetres_enter_by_component():
    predicted, truth = case((14, 16))
    plain = values(displacement_calibration(predicted, truth, spacing_mm=torch.ones(2)))
    double = values(displacement_calibration(predicted, truth, spacing_mm=2 * torch.ones(2)))
    for metric in ("crps_mm", "sharpness_mm", "crps_samples_mm"):
        assert double[metric] == pytest.approx(2 * plain[metric])
    for metric in ("nees", "calibration_error", "ause", "spearman_sd_error"):
        assert double[metric] == pytest.approx(plain[metric])


def test_what_cannot_be_measured_is_refused_in_sentences():
    predicted, truth = case((10, 12))
    spacing = torch.ones(2)
    with pytest.raises(DataError, match="on one grid"):
        displacement_calibration(predicted, truth[..., :5], spacing_mm=spacing)
    with pytest.raises(DataError, match="mask is empty"):
        displacement_calibration(predicted, truth, spacing_mm=spacing, mask=torch.zeros(1, 1, 10, 12))
    with pytest.raises(DataError, match="number of samples"):
        displacement_calibration(replace(predicted, samples=None), truth, spacing_mm=spacing)
    with pytest.raises(NumericalError, match="NaN"):
        displacement_calibration(replace(predicted, std=predicted.std * math.nan), truth, spacing_mm=spacing)
    with pytest.raises(NumericalError, match="negative"):
        displacement_calibration(replace(predicted, std=-predicted.std), truth, spacing_mm=spacing)


def test_a_certain_prediction_that_is_wrong_is_said_to_be():
    predicted, truth = case((10, 12))
    certain = Predicted(mean=predicted.mean, std=torch.zeros_like(predicted.std))
    found = values(displacement_calibration(certain, truth, spacing_mm=torch.ones(2)))
    assert found["zero_sd_percent"] == 100
    assert found["calibration_error"] == pytest.approx(0.5)
    assert found["z_rms"] == math.inf


# -- recalibration ---------------------------------------------------------------------------------------


def normal(n: int, seed: int) -> torch.Tensor:
    return torch.randn(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_recalibration_recovers_a_known_factor():
    validation, test = 2.5 * normal(100_000, 0), 2.5 * normal(100_000, 1)
    factor = fit_factor(float(validation.square().sum()), 100_000)
    assert factor == pytest.approx(2.5, rel=0.01)
    assert gaussian_coverage(test).error > 0.2
    assert coverage_of_sizes(size_counts(test), factor).error < 3e-3
    with pytest.raises(DataError, match="standard deviation is zero"):
        fit_factor(math.inf, 10)


def test_isotonic_levels_mend_a_law_that_is_no_gaussian():
    def heavy(seed: int) -> torch.Tensor:
        return normal(100_000, seed) * torch.where(normal(100_000, seed + 10) > 1, 4.0, 0.5)

    raw = gaussian_coverage(heavy(1))
    mended = fit_levels(gaussian_coverage(heavy(0))).applied(raw)
    assert raw.error > 0.1
    assert mended.error < 0.02
    assert mended.total == raw.total
    with pytest.raises(DataError, match="no coverage"):
        fit_levels(gaussian_coverage(torch.zeros(0)))


def test_temperature_is_recovered():
    generator = np.random.default_rng(0)
    true = generator.dirichlet(np.ones(3), 40_000)
    label = (true.cumsum(1) < generator.random((40_000, 1))).sum(1).clip(0, 2)
    sure = tempered(true, 0.5)
    found = fit_temperature(sure, label)
    assert found == pytest.approx(2, rel=0.03)
    before, after = (reliability(*top_label(p, label)).ece for p in (sure, tempered(sure, found)))
    assert after < 0.02 < before
    assert tempered(np.array([[0.0, 1.0]]), 1.0, samples=10)[0] == pytest.approx([0.05 / 1.05, 1 / 1.05])
    with pytest.raises(DataError, match="have none"):
        fit_temperature(np.zeros((0, 2)), np.zeros(0, dtype=int))


# -- errors over cases -----------------------------------------------------------------------------------


def test_standard_errors_over_cases():
    numbers = np.random.default_rng(0).normal(3, 2, 400)
    mean = mean_over_cases(np.append(numbers, math.nan))
    assert mean.n == 400
    assert mean.error == pytest.approx(numbers.std(ddof=1) / 20)
    counts = np.stack([numbers, np.ones(400)], axis=1)
    value, error = bootstrap(lambda total: total[0] / total[1], counts)
    assert float(value) == pytest.approx(numbers.mean())
    assert float(error) == pytest.approx(mean.error, rel=0.1)
    assert math.isnan(float(bootstrap(lambda total: total[0], counts[:1])[1]))


def test_the_floor_is_what_a_perfect_prediction_shows():
    """Simulated: cases whose voxels are all equal, so that only their number counts."""
    generator = np.random.default_rng(1)
    cases, errors = 60, []
    levels = np.array([0.3, 0.6, 0.9])
    for _ in range(400):
        share = (generator.random((cases, 1)) < levels).mean(0)
        errors.append(np.abs(share - levels).mean())
    floor = floor_of_error(np.sqrt(levels * (1 - levels) / cases), levels)
    assert np.mean(errors) == pytest.approx(floor, rel=0.1)


def test_regression_of_draws_from_the_model_itself():
    generator = torch.Generator().manual_seed(0)
    centre = torch.randn(4000, generator=generator)
    draws = centre + torch.randn(100, 4000, generator=generator)
    truth = centre + torch.randn(4000, generator=generator)
    found = regression_calibration(draws, truth)
    assert found.coverage.error < 0.02
    assert found.sharpness == pytest.approx(1, abs=0.02)
    assert found.crps == pytest.approx(1 / math.sqrt(math.pi), rel=0.05)
    assert found.rmse == pytest.approx(math.sqrt(1.01), rel=0.05)
    assert found.transform.sum() == pytest.approx(4000)
    with pytest.raises(DataError, match="draws"):
        regression_calibration(draws[:1], truth)
