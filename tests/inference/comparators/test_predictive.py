"""The predictive distribution that all methods share: exact mixtures, intervals with noise, modes, calibration."""

from __future__ import annotations

import math

import pytest
import torch

from medreg.errors import ConfigError
from medreg.inference.comparators.predictive import LEVELS, Predictive, scores


def random_mixture(*, points=4, count=7):
    generator = torch.Generator().manual_seed(2)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return Predictive(normal(count, points), 0.4, normal(count, points).abs(), normal(count).softmax(0))


def reference(found):
    scale = (found.spread.square() + found.noise**2).sqrt()
    return torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(found.shares.expand(found.means.shape[1], -1)),
        torch.distributions.Normal(found.means.T, scale.T),
    )


def test_density_moments_and_distribution_function_of_torch():
    found, targets = random_mixture(), torch.tensor([0.3, -0.4, 1.0, 2.0], dtype=torch.float64)
    theirs = reference(found)
    torch.testing.assert_close(found.log_density(targets), theirs.log_prob(targets))
    torch.testing.assert_close(found.cumulative(targets), theirs.cdf(targets))
    torch.testing.assert_close(found.mean, theirs.mean)
    torch.testing.assert_close(found.variance, theirs.variance)
    grid = torch.linspace(-3, 3, 50, dtype=torch.float64)
    torch.testing.assert_close(
        found.density(grid, 1), theirs.log_prob(grid[:, None].expand(-1, 4))[:, 1].exp()
    )


def test_draws_without_spread_are_point_components():
    means = torch.tensor([[0.0, 1.0], [2.0, 1.0]], dtype=torch.float64)
    drawn, spread = Predictive(means, 0.5), Predictive(means, 0.5, torch.zeros(2, 2, dtype=torch.float64))
    targets = torch.tensor([0.7, 0.9], dtype=torch.float64)
    torch.testing.assert_close(drawn.log_density(targets), spread.log_density(targets))
    torch.testing.assert_close(drawn.variance, torch.tensor([1.25, 0.25], dtype=torch.float64))


def test_intervals_hold_the_noise():
    single = Predictive(torch.zeros(1, 3, dtype=torch.float64), 2.0)
    low, high = single.interval(0.95)
    torch.testing.assert_close(high, torch.full((3,), 2 * 1.959963985, dtype=torch.float64))
    torch.testing.assert_close(low, -high)


def test_modes_are_counted_on_the_exact_mixture():
    means = torch.tensor([[0.0, 0.0], [1.0, 0.1], [2.0, 0.2]], dtype=torch.float64)
    found = Predictive(means, 0.1)
    assert (found.modes(0), found.modes(1)) == (3, 1)
    unequal = Predictive(means, 0.1, weights=torch.tensor([0.991, 0.005, 0.004], dtype=torch.float64))
    assert unequal.modes(0) == 1  # the others are less than one percent of the peak


def test_calibration_error_of_the_model_itself_vanishes():
    """Check 26, regression: targets drawn from the predictive distribution."""
    generator, errors = torch.Generator().manual_seed(4), []
    for count in (100, 10_000, 200_000):
        means = torch.randn(3, count, generator=generator, dtype=torch.float64)
        chosen = torch.randint(3, (count,), generator=generator)
        noise = 0.3 * torch.randn(count, generator=generator, dtype=torch.float64)
        targets = means[chosen, torch.arange(count)] + noise
        errors.append(scores(Predictive(means, 0.3), targets)["calibration_error"])
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.002
    # 1/√n: the mean over levels of the binomial standard error, doubled
    assert errors[0] < 2 * sum(math.sqrt(p * (1 - p) / 100) for p in LEVELS) / len(LEVELS)


def test_too_narrow_a_prediction_is_miscalibrated():
    generator = torch.Generator().manual_seed(1)
    targets = torch.randn(50_000, generator=generator, dtype=torch.float64)
    zero = torch.zeros(1, len(targets), dtype=torch.float64)
    right, narrow = (scores(Predictive(zero, noise), targets) for noise in (1.0, 0.5))
    assert right["calibration_error"] < 0.005
    assert narrow["calibration_error"] > 0.15
    assert right["log_density"] == pytest.approx(-0.5 * (1 + math.log(2 * math.pi)), abs=0.02)
    assert right["rmse"] == pytest.approx(1.0, abs=0.02)
    assert right["sharpness"] == 1.0


@pytest.mark.parametrize(
    ("means", "noise", "words"), [((0, 3), 1.0, r"needs draws \(S, N\)"), ((2, 3), 0.0, "noise is 0")]
)
def test_nothing_to_predict_with_is_refused(means, noise, words):
    with pytest.raises(ConfigError, match=words):
        Predictive(torch.zeros(*means), noise)
