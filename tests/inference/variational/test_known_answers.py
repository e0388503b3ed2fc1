"""Linear-Gaussian models, where the posterior, the evidence and the best bound of every family are known."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch.distributions import MultivariateNormal, kl_divergence

from medreg.errors import ConfigError
from medreg.inference.variational.analytic import GaussianTarget, maximise
from medreg.inference.variational.families import Full, Structured
from medreg.inference.variational.fit import Posterior, fit
from medreg.inference.variational.full import FullNormal
from medreg.inference.variational.normal import diagonal

F64 = torch.float64
FEATURES = torch.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]], dtype=F64)
TARGETS = torch.tensor([1.0, 2.0, 2.0], dtype=F64)
LOG_EVIDENCE, GAP = -4.177048, 0.374830


def regression() -> GaussianTarget:
    return GaussianTarget.of_regression(FEATURES, TARGETS, noise=0.5, prior=1.0)


def joint(w: torch.Tensor) -> torch.Tensor:
    """Ln p(y, w) written out, (n, 2) → (n,)."""
    residual = TARGETS - w @ FEATURES.T
    likelihood = (-2 * residual.square() - 0.5 * math.log(2 * math.pi * 0.25)).sum(-1)
    return likelihood + (-0.5 * w.square() - 0.5 * math.log(2 * math.pi)).sum(-1)


def random_regression(dim: int = 6, count: int = 40, seed: int = 0) -> GaussianTarget:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(count, dim, generator=generator, dtype=F64)
    return GaussianTarget.of_regression(
        features, torch.randn(count, generator=generator, dtype=F64), noise=1.0, prior=1.0
    )


def start(target: GaussianTarget, rank: int):
    """A family at a random start, by number."""

    def make(number: int) -> Structured:
        generator = torch.Generator().manual_seed(number)
        dim = len(target.mean)
        family = Structured(dim, rank, parametrisation="direct", dtype=F64)
        family.initialise(lambda shape: torch.randn(*shape, dim, generator=generator, dtype=F64), level=0.5)
        return family

    return make


def exact(target: GaussianTarget) -> FullNormal:
    return FullNormal(target.mean, torch.linalg.cholesky(torch.linalg.inv(target.precision)))


def test_the_worked_example_has_its_numbers():
    target = regression()
    assert target.log_evidence == pytest.approx(LOG_EVIDENCE, abs=1e-6)
    torch.testing.assert_close(target.mean, torch.tensor([1.023256, 0.558140], dtype=F64), rtol=0, atol=1e-6)
    torch.testing.assert_close(
        1 / target.precision.diagonal(), torch.tensor([0.076923, 0.047619], dtype=F64), rtol=0, atol=1e-6
    )
    w = torch.randn(5, 2, generator=torch.Generator().manual_seed(0), dtype=F64)
    torch.testing.assert_close(target.log_density(w), joint(w))


@pytest.mark.parametrize("target", [regression(), random_regression()])
def test_the_bound_is_the_evidence_at_the_posterior(target):
    q = exact(target)
    assert float(target.elbo(q)) == pytest.approx(target.log_evidence, abs=1e-9)
    draws = q.draw("single", torch.Generator().manual_seed(0), pairs=20)  # no sample deviates
    each = target.log_density(draws.values) + draws.neg_log_q
    torch.testing.assert_close(each, torch.full_like(each, target.log_evidence), rtol=0, atol=1e-9)


def test_the_mean_field_optimum():
    target = regression()
    best = diagonal(target.mean, -0.5 * target.precision.diagonal().log())
    assert float(target.gap(best)) == pytest.approx(GAP, abs=1e-6)
    found = maximise(target, start(target, 0), starts=1)
    torch.testing.assert_close(found.variance(), best.variance(), rtol=1e-6, atol=0)
    assert float(target.gap(found)) == pytest.approx(GAP, abs=1e-6)


def test_a_fit_reaches_the_evidence():
    q = fit(joint, 2, "full", steps=800)
    assert float(q.elbo) == pytest.approx(regression().log_evidence, abs=1e-9)
    assert float(q.elbo_error) < 1e-9
    q = fit(joint, 2, "structured", rank=1, steps=1200)
    assert float(regression().gap(q.distribution)) < 1e-6


@pytest.mark.parametrize("estimator", ["closed", "stl"])
def test_a_mean_field_fit_reaches_the_gap(estimator):
    q = fit(joint, 2, "diagonal", steps=1000, estimator=estimator)
    assert float(regression().gap(q.distribution)) == pytest.approx(GAP, abs=0.005)
    torch.testing.assert_close(q.mean, regression().mean, rtol=0, atol=1e-6)


def test_full_rank_is_exact_and_the_gap_falls_with_the_rank():
    target = random_regression()
    gaps = [float(target.gap(maximise(target, start(target, rank)))) for rank in (0, 1, 2, 3, 5)]
    assert gaps[3] < 1e-10
    assert gaps[4] < 1e-10
    assert gaps[0] > gaps[1] > gaps[2] > 1e-6


def test_a_low_rank_target_is_recovered():
    generator = torch.Generator().manual_seed(3)
    columns = torch.randn(8, 2, generator=generator, dtype=F64)
    covariance = torch.diag(0.2 + torch.rand(8, generator=generator, dtype=F64)) + columns @ columns.T
    target = GaussianTarget(torch.zeros(8, dtype=F64), torch.linalg.inv(covariance))
    found = maximise(target, start(target, 2))
    assert float((found.covariance() - covariance).norm() / covariance.norm()) < 1e-4
    assert float(target.gap(found)) < 1e-8
    assert target.gap(maximise(target, start(target, 1))) > 0.01


def test_the_full_family_by_its_closed_form():
    target = random_regression(4)

    def make(number: int) -> Full:
        family = Full(4, dtype=F64)
        family.initialise(lambda shape: torch.ones(*shape, 4, dtype=F64))
        return family

    assert float(target.gap(maximise(target, make, starts=1))) < 1e-10


@pytest.mark.slow
def test_stochastic_fits_of_every_rank():
    target = random_regression()
    best = float(target.gap(diagonal(target.mean, -0.5 * target.precision.diagonal().log())))
    gaps = []
    for rank in (0, 1, 2, 5):
        q = fit(
            target.log_density, 6, "structured", rank=rank, pairs=4, lr=0.05, steps=6000, estimator="closed"
        )
        gaps.append(float(target.gap(q.distribution)))
        assert (q.mean - target.mean).abs().max() < 1e-6  # mirrored pairs are exact on quadratics
    assert gaps[0] == pytest.approx(best, rel=0.01)
    assert all(after <= before + 0.02 for before, after in itertools.pairwise(gaps))


def notebook_target(seed: int) -> MultivariateNormal:
    """Eight dimensions, covariance U S² Uᵀ with S = exp(N(0, 1)), as the released engine's notebook has it."""
    generator = torch.Generator().manual_seed(seed)
    basis, _ = torch.linalg.qr(torch.randn(8, 8, generator=generator, dtype=F64))
    spread = torch.randn(8, generator=generator, dtype=F64).exp()
    mean = torch.randn(8, generator=generator, dtype=F64)
    return MultivariateNormal(mean, basis @ torch.diag(spread.square()) @ basis.T)


def notebook_kl(target: MultivariateNormal, schedule: str, estimator: str) -> float:
    q: Posterior = fit(
        target.log_prob, 8, "structured", rank=8, mode="unscented", pairs=1, steps=1000, lr=0.1, betas=(0.85, 0.85),
        schedule=schedule, estimator=estimator, elbo_samples=1,
    )  # fmt: skip
    return float(kl_divergence(target, MultivariateNormal(q.mean, q.covariance())))


@pytest.mark.parametrize(
    "seed", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(
    "estimator",
    ["sampled", pytest.param("closed", marks=pytest.mark.slow), pytest.param("stl", marks=pytest.mark.slow)],
)
def test_the_notebook_problem(seed, estimator):
    constant = notebook_kl(notebook_target(seed), "constant", estimator)
    decayed = notebook_kl(notebook_target(seed), "cosine", estimator)
    assert constant <= 0.8
    assert decayed <= 0.08
    assert decayed < constant


def test_a_mixture_has_no_closed_bound():
    target = regression()
    with pytest.raises(ConfigError, match="has to be sampled"):
        target.elbo(fit(joint, 2, "mixture", steps=1, elbo_samples=1).distribution)
    with pytest.raises(ConfigError, match="starts is 0"):
        maximise(target, start(target, 0), starts=0)
