"""Closed forms of exact posterior, mean field and MC dropout against numbers, enumeration, sampling and training."""

from __future__ import annotations

import math

import pytest
import torch

from medreg.errors import ConfigError
from medreg.inference.comparators.dropout import (
    MaskedWeights,
    all_masks,
    draw_masks,
    expected_loss,
    fit_linear,
    log_density_loss,
)
from medreg.inference.comparators.linear_gaussian import LinearGaussian, NormalPosterior

WORKED = LinearGaussian(  # the worked example: a line through three points
    torch.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]], dtype=torch.float64),
    torch.tensor([1.0, 2.0, 2.0], dtype=torch.float64),
    0.5,
    1.0,
)
AT = torch.tensor([[1.0, 3.0], [1.0, 0.0]], dtype=torch.float64)


def mean_model(count, *, mean=1.0):
    """n observations with mean `mean` and unit noise and prior."""
    return LinearGaussian(
        torch.ones(count, 1, dtype=torch.float64), torch.full((count,), mean, dtype=torch.float64), 1.0, 1.0
    )


def test_exact_posterior_of_the_worked_example():
    found = WORKED.posterior
    assert found.mean.tolist() == pytest.approx([1.023256, 0.558140], abs=1e-6)
    assert found.covariance.flatten().tolist() == pytest.approx(
        [0.162791, -0.093023, -0.093023, 0.100775], abs=1e-6
    )
    predictive = found.predict(AT, WORKED.noise)
    assert predictive.mean[0].item() == pytest.approx(2.697674, abs=1e-6)
    assert predictive.epistemic_variance.tolist() == pytest.approx([0.511628, 0.162791], abs=1e-6)


def test_elbo_at_the_exact_posterior_is_the_evidence():
    assert WORKED.log_evidence == pytest.approx(-4.177048, abs=1e-6)
    assert WORKED.elbo(WORKED.posterior) == pytest.approx(WORKED.log_evidence, abs=1e-12)
    generator = torch.Generator().manual_seed(3)
    design = torch.randn(40, 6, generator=generator, dtype=torch.float64)
    model = LinearGaussian(design, torch.randn(40, generator=generator, dtype=torch.float64), 0.7, 1.3)
    assert model.elbo(model.posterior) == pytest.approx(model.log_evidence, abs=1e-11)


def test_mean_field_optimum_is_the_diagonal_laplace():
    found = WORKED.mean_field()
    assert found.covariance.diagonal().tolist() == pytest.approx([0.076923, 0.047619], abs=1e-6)
    assert WORKED.log_evidence - WORKED.elbo(found) == pytest.approx(0.374830, abs=1e-6)
    assert torch.equal(found.covariance, WORKED.laplace("diagonal").covariance)
    assert torch.equal(WORKED.posterior.covariance, WORKED.laplace("full").covariance)
    with pytest.raises(ConfigError, match="structure is 'kron'; choose full or diagonal"):
        WORKED.laplace("kron")


@pytest.mark.parametrize(
    ("count", "atom", "mean", "variance", "predictive", "inverted"),
    [
        (10, 0.909091, 0.454545, 0.206612, 1.206612, (0.952381, 0.476190, 0.226757)),
        (1000, 0.999001, 0.499500, 0.249501, 1.249501, (0.999500, 0.499750, 0.249750)),
    ],
)
def test_dropout_of_a_mean_by_formula_enumeration_and_sampling(
    count, atom, mean, variance, predictive, inverted
):
    """Check 19."""
    model = mean_model(count)
    assert model.posterior.mean.item() == pytest.approx(atom, abs=1e-6)
    found = fit_linear(model, 0.5, inverted=False)
    assert found.kept.item() == pytest.approx(atom, abs=1e-6)  # the unscaled minimiser is the posterior mean
    assert (found.mean.item(), found.variance.item()) == pytest.approx((mean, variance), abs=1e-6)
    one = torch.ones(1, 1, dtype=torch.float64)
    enumerated = found.predict(one, 1.0)
    assert enumerated.mean.item() == pytest.approx(mean, abs=1e-6)
    assert enumerated.variance.item() == pytest.approx(predictive, abs=1e-6)
    drawn = found.kept * draw_masks(100_000, 1, 0.5, torch.Generator().manual_seed(1))
    assert drawn.mean().item() == pytest.approx(mean, abs=4 * math.sqrt(variance / 1e5))
    assert drawn.var().item() == pytest.approx(variance, rel=0.01)
    scaled = fit_linear(model, 0.5)
    measured = (scaled.kept.item(), scaled.mean.item(), scaled.variance.item())
    assert measured == pytest.approx(inverted, abs=1e-6)


def test_dropout_of_the_worked_example():
    found = fit_linear(WORKED, 0.5)
    assert found.weights.tolist() == pytest.approx([0.603859, 0.408627], abs=1e-6)
    predictive = found.predict(AT, WORKED.noise)
    assert predictive.mean[0].item() == pytest.approx(1.829739, abs=1e-6)
    assert predictive.epistemic_variance.tolist() == pytest.approx([1.867427, 0.364646], abs=1e-6)
    assert sorted(predictive.means[:, 0].tolist()) == pytest.approx(
        [0, 1.207719, 2.451759, 3.659478], abs=1e-6
    )
    assert predictive.shares.tolist() == [0.25] * 4


@pytest.mark.parametrize("inverted", [True, False])
@pytest.mark.parametrize("probability", [0.1, 0.5])
def test_dropout_by_formula_training_and_enumeration(probability, inverted):
    """Check 20."""
    decay = (1.0 if inverted else 1 - probability) / 2
    formula = fit_linear(WORKED, probability, inverted=inverted)
    weights = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=100, line_search_fn="strong_wolfe")

    def closure():
        optimiser.zero_grad()
        loss = expected_loss(WORKED, weights, probability, decay=decay, inverted=inverted)
        loss.backward()
        return loss

    optimiser.step(closure)
    torch.testing.assert_close(weights.detach(), formula.weights, atol=1e-5, rtol=0)
    enumerated = formula.predict(AT, WORKED.noise).epistemic_variance
    torch.testing.assert_close(formula.epistemic_variance(AT), enumerated, atol=1e-10, rtol=0)


def test_stochastic_training_with_fresh_masks_finds_the_formula():
    """Check 20, as dropout is trained in practice: new masks at every step, Adam with a decaying rate."""
    weights = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([weights], lr=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 1500)
    generator = torch.Generator().manual_seed(0)
    for _ in range(1500):
        kept = weights * draw_masks(256, 2, 0.5, generator) / 0.5
        loss = (WORKED.targets - kept @ WORKED.design.T).square().sum(1).mean() / (2 * WORKED.noise**2)
        loss = loss + 0.5 * weights.square().sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    torch.testing.assert_close(weights.detach(), fit_linear(WORKED, 0.5).weights, atol=5e-3, rtol=0)


def test_dropout_does_not_contract_and_the_truth_does():
    """Check 21."""
    models = [mean_model(count) for count in (10, 100, 1000)]
    for model in models:
        found = fit_linear(model, 0.5, inverted=False)
        assert found.variance.item() == pytest.approx(0.25 * model.posterior.mean.item() ** 2, abs=1e-12)
    dropout = [fit_linear(model, 0.5).variance.item() for model in models]
    truth = [model.posterior.covariance.item() for model in models]
    assert dropout[2] > dropout[0] > 0.2
    assert truth == pytest.approx([1 / 11, 1 / 101, 1 / 1001])


def test_targets_times_ten_make_the_dropout_variance_a_hundredfold():
    """Check 22."""
    ten = WORKED.scaled(10)
    before, after = (fit_linear(m, 0.5).epistemic_variance(AT) for m in (WORKED, ten))
    assert after[0].item() == pytest.approx(186.742699, abs=1e-5)
    assert (after / before).tolist() == pytest.approx([100.0, 100.0])
    exact = ten.posterior.predict(AT, ten.noise).epistemic_variance
    assert exact[0].item() == pytest.approx(0.511628, abs=1e-6)


def test_mass_at_the_truth():
    """Check 23: a ball around the truth without atoms has no dropout mass, but some of the exact posterior."""
    truth = torch.tensor([1.0, 0.5], dtype=torch.float64)
    atoms, _ = fit_linear(WORKED, 0.5).draws(0)
    nearest = (atoms - truth).norm(dim=1).min().item()
    for radius in (0.9 * nearest, 1e-2, 1e-4):
        assert fit_linear(WORKED, 0.5).mass(truth, radius) == 0.0
        assert WORKED.posterior.mass(truth, radius) > 0
    assert fit_linear(WORKED, 0.5).mass(truth, 1.001 * nearest) == 0.25
    # A small ball: density times area.
    density = torch.distributions.MultivariateNormal(*vars(WORKED.posterior).values()).log_prob(truth).exp()
    assert WORKED.posterior.mass(truth, 1e-3) == pytest.approx(density.item() * math.pi * 1e-6, rel=1e-3)
    one = NormalPosterior(torch.zeros(1), torch.ones(1, 1))
    assert one.mass(torch.zeros(1), 1.959964) == pytest.approx(0.95, abs=1e-5)


def test_loss_of_log_density_in_the_limit():
    """Check 24."""
    found = [log_density_loss(effect, 0.5) for effect in (0, 1, 2, 5, 8)]
    assert found == pytest.approx([0, 0.1114, 0.3368, 0.6759, 0.6931], abs=1e-4)
    assert log_density_loss(30, 0.5) == pytest.approx(math.log(2), abs=1e-9)


def test_the_density_over_all_masks_is_that_of_enumeration():
    generator = torch.Generator().manual_seed(5)
    weights = MaskedWeights(torch.randn(9, generator=generator, dtype=torch.float64), 0.3)
    features = torch.randn(9, generator=generator, dtype=torch.float64)
    grid = torch.linspace(-8, 8, 801, dtype=torch.float64)
    enumerated = weights.predict(features[None], 0.2).density(grid, 0)
    torch.testing.assert_close(weights.density(features, 0.2, grid), enumerated, atol=1e-12, rtol=0)


def test_masks_have_the_probabilities_of_bernoulli():
    masks, shares = all_masks(5, 0.3)
    assert len({tuple(mask) for mask in masks.tolist()}) == 32
    assert shares.sum().item() == pytest.approx(1.0)
    torch.testing.assert_close(shares @ masks, torch.full((5,), 0.7, dtype=torch.float64))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: fit_linear(WORKED, 1.0), "dropout probability is 1; it lies within"),
        (lambda: fit_linear(WORKED, 0.5, decay=-1.0), "decay is -1"),
        (lambda: all_masks(17, 0.5), "too many to enumerate; at most"),
        (lambda: draw_masks(0, 3, 0.5), "0 draws of a mask are none"),
        (lambda: MaskedWeights(torch.ones(20), 0.5).mass(torch.ones(20), 0.1), "too many to enumerate"),
        (lambda: LinearGaussian(WORKED.design, WORKED.targets, 0.0, 1.0), "noise is 0"),
        (lambda: LinearGaussian(WORKED.design, WORKED.targets[:2], 1.0, 1.0), r"needs targets \(N,\)"),
    ],
)
def test_bad_values_are_refused_with_a_sentence(call, words):
    with pytest.raises(ConfigError, match=words):
        call()
