"""Coverage, ranks and scores against closed forms, numerical integrals and independent formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from medreg.metrics.uncertainty.gaussian import (
    crps_gaussian,
    crps_samples,
    expected_nees,
    nees,
    z_scores,
)
from medreg.metrics.uncertainty.intervals import (
    LEVELS,
    coverage_of_sizes,
    gaussian_coverage,
    half_width,
    pooled,
    size_counts,
)
from medreg.metrics.uncertainty.ranks import (
    deviation,
    gaussian_histogram,
    histogram,
    interval_coverage,
    rank_counts,
    rank_coverage,
    rank_of,
    uniformity,
)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_levels_are_those_of_the_protocol():
    assert LEVELS.tolist() == pytest.approx([0.05 * k for k in range(1, 20)])
    assert half_width(np.array([0.5, 0.9])) == pytest.approx(stats.norm.ppf([0.75, 0.95]))


def test_error_of_a_true_gaussian_vanishes_with_n():
    errors = [gaussian_coverage(normal(n)).error for n in (100, 10_000, 1_000_000)]
    assert errors[2] < 1e-3 < errors[0]
    assert errors[1] < errors[0]


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.5, 3.0])
def test_an_sd_wrong_by_a_factor_has_the_closed_form(factor):
    """SD times k where it should be 1: coverage at p is 2Φ(k z_p) − 1."""
    expected = 2 * stats.norm.cdf(factor * half_width(LEVELS)) - 1
    found = gaussian_coverage(normal(1_000_000) / factor)
    assert found.share == pytest.approx(expected, abs=2e-3)
    assert found.error == pytest.approx(np.abs(expected - LEVELS).mean(), abs=1e-3)
    assert math.copysign(1, found.bias) == math.copysign(1, factor - 1)


def test_an_sd_of_zero_covers_only_what_is_right():
    mean = torch.tensor([1.0, 1.0])
    z = z_scores(mean, torch.zeros(2), torch.tensor([1.0, 2.0]))
    assert z.tolist() == [0.0, math.inf]
    assert gaussian_coverage(z).share == pytest.approx(0.5)


def test_pooled_cases_are_the_whole():
    z = normal(5000, 3)
    parts = [gaussian_coverage(part) for part in z.chunk(7)]
    whole = gaussian_coverage(z)
    assert pooled(parts).covered.tolist() == whole.covered.tolist()
    assert pooled(parts).total == whole.total == 15000


@pytest.mark.parametrize("factor", [0.7, 1.0, 1.8])
def test_coverage_follows_from_the_histogram_of_sizes(factor):
    z = 1.4 * normal(400_000)
    direct = gaussian_coverage(z / factor)
    from_counts = coverage_of_sizes(size_counts(z), factor)
    assert from_counts.share == pytest.approx(direct.share, abs=1e-3)
    assert size_counts(z).sum() == 400_000


@pytest.mark.parametrize("samples", [1, 4, 9, 50])
def test_uniform_ranks_have_nominal_coverage_whatever_their_number(samples):
    found = rank_coverage(np.ones(samples + 1))
    assert found.share == pytest.approx(LEVELS, abs=1e-12)
    assert deviation(histogram(np.ones(samples + 1))) == pytest.approx(0, abs=1e-12)


def test_ranks_of_a_perfect_ensemble_are_uniform():
    draws, truth = normal(20, 200_000), normal(200_000, seed=1)
    counts = rank_counts(rank_of(draws, truth), 20)
    assert uniformity(counts)[1] > 0.01
    assert interval_coverage(draws, truth).error < 3e-3
    assert deviation(histogram(counts)) < 0.01


def test_ranks_of_a_narrow_ensemble_pile_up_at_the_ends():
    draws, truth = 0.3 * normal(20, 20_000), normal(20_000, seed=1)
    counts = rank_counts(rank_of(draws, truth), 20)
    assert counts[[0, -1]].sum() > 0.5 * counts.sum()
    assert uniformity(counts)[1] < 1e-10
    assert rank_coverage(counts).bias < -0.2


def test_rank_counts_equal_samples_as_half():
    draws = torch.tensor([[0.0], [1.0], [1.0], [2.0]])
    assert rank_of(draws, torch.tensor([1.0])).item() == 2
    with pytest.raises(ValueError, match="0 … 3"):
        rank_counts(torch.tensor([4]), 3)


def test_histogram_of_gaussian_transforms():
    assert deviation(gaussian_histogram(normal(200_000))) < 0.01
    halves = gaussian_histogram(torch.tensor([-10.0, -math.inf, math.inf, 10.0]), bins=2)
    assert halves.tolist() == [2, 2]


@pytest.mark.parametrize(("mean", "std", "truth"), [(0.0, 1.0, 0.3), (2.0, 0.5, -1.0), (-1.0, 3.0, 4.0)])
def test_crps_of_a_gaussian_is_the_integral(mean, std, truth):
    def below(x: float) -> float:
        return stats.norm.cdf(x, mean, std) ** 2

    def above(x: float) -> float:
        return (1 - stats.norm.cdf(x, mean, std)) ** 2

    reach = abs(mean) + abs(truth) + 12 * std
    numeric = (
        integrate.quad(below, -reach, truth, limit=200)[0] + integrate.quad(above, truth, reach, limit=200)[0]
    )
    found = crps_gaussian(torch.tensor(mean), torch.tensor(std), torch.tensor(truth))
    assert float(found) == pytest.approx(numeric, abs=1e-6)


def test_crps_of_a_certain_prediction_is_the_absolute_error():
    assert float(crps_gaussian(torch.tensor(1.0), torch.tensor(0.0), torch.tensor(3.5))) == 2.5


def test_crps_of_samples_is_the_double_sum_and_tends_to_the_gaussian_one():
    draws, truth = normal(7, 5), normal(5, seed=3)
    pairs = (draws[:, None] - draws[None]).abs().sum((0, 1)) / (7 * 6)
    assert crps_samples(draws, truth) == pytest.approx(((draws - truth).abs().mean(0) - pairs / 2).numpy())
    many = crps_samples(normal(200_000, 1), torch.tensor([0.7]))
    assert float(many) == pytest.approx(
        float(crps_gaussian(torch.tensor(0.0), torch.tensor(1.0), torch.tensor(0.7))), abs=3e-3
    )


@pytest.mark.parametrize("dimensions", [2, 3])
def test_nees_of_the_true_covariance_is_one(dimensions):
    root = torch.tensor([[1.0, 0.0, 0.0], [0.7, 0.4, 0.0], [-0.3, 0.2, 2.0]], dtype=torch.float64)
    root = root[:dimensions, :dimensions]
    error = (root @ normal(dimensions, 100_000)).view(1, dimensions, 100, 1000)
    covariance = (root @ root.T).view(1, dimensions, dimensions, 1, 1).expand(-1, -1, -1, 100, 1000)
    found = nees(error, covariance)
    assert found.shape == (1, 100, 1000)
    assert float(found.mean()) == pytest.approx(1, abs=0.01)
    assert float(nees(error, 4 * covariance).mean()) == pytest.approx(0.25, abs=0.01)


def test_nees_of_sample_covariances_has_its_known_mean():
    draws, truth = normal(30, 20_000, 3), normal(20_000, 3, seed=5)
    centred = draws - draws.mean(0)
    covariance = torch.einsum("kni,knj->nij", centred, centred) / 29
    found = float(nees(truth - draws.mean(0), covariance).mean())
    assert found == pytest.approx(expected_nees(30, 3), rel=0.02)
    assert expected_nees(30, 3) == pytest.approx(31 / 30 * 29 / 25)
    assert expected_nees(5, 3) == math.inf


def test_nees_of_a_singular_covariance():
    flat = torch.diag(torch.tensor([1.0, 0.0]))
    assert float(nees(torch.tensor([[2.0, 0.0]]), flat[None])) == pytest.approx(2.0)
    assert float(nees(torch.tensor([[2.0, 1.0]]), flat[None])) == math.inf
    assert float(nees(torch.zeros(1, 2), torch.zeros(1, 2, 2))) == 0.0
