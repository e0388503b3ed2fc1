"""The variational fit of a registration on targets whose answer is known: quadratic energies, the ramp among them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from ramp_problem import ramp_problem

from medreg.geometry.dense import Dense
from medreg.inference.level import full_images
from medreg.inference.objective import EnergyFunction
from medreg.inference.posterior import PosteriorEnergy
from medreg.inference.variational.analytic import GaussianTarget
from medreg.inference.variational.full import FullNormal
from medreg.inference.variational_pairs import VariationalFit
from medreg.losses.likelihood.gaussian import Gaussian
from medreg.losses.likelihood.residual import Difference
from medreg.losses.prior.fixed import Fixed
from medreg.losses.regularisation.diffusion import Diffusion
from medreg.losses.tuning import Rate

F64 = torch.float64
MEAN_FIELD = VariationalFit(
    rank=0, iterations=1500, std=0.2, factor=0.1, lr=0.05, schedule="cosine", decay=0.0, betas=(0.9, 0.99),
    estimator="closed",
)  # fmt: skip


class Quadratic(EnergyFunction):
    """½ (z − m)ᵀ Λ (z − m) of one pair, with what a fit asks of a posterior."""

    adaptive = False

    def __init__(self, target, chains=1):
        self.target, self.count = target, chains

    @property
    def shape(self):
        return (self.count, len(self.target.mean))

    def identity(self):
        return torch.zeros(self.shape, dtype=F64)

    def beginning(self):
        return self.identity()

    def chains(self, count):
        return Quadratic(self.target, count)

    def state(self):
        return {}

    def load_state(self, state):
        pass

    def __call__(self, z):
        return -self.target.log_density(z)


def ramp():
    """The registration of the ramp and its posterior."""
    found = ramp_problem((4, 3))
    return found, GaussianTarget(found.mean, found.precision)


def gap_of(fitted, target):
    """KL(q ‖ posterior), nats."""
    covariance = torch.diag(fitted.log_std[0].flatten().mul(2).exp())
    covariance += torch.einsum("ri,rj->ij", fitted.factor[0].flatten(1), fitted.factor[0].flatten(1))
    q = FullNormal(fitted.mean[0].flatten(), torch.linalg.cholesky(covariance))
    return float(target.gap(q)), covariance


@pytest.mark.parametrize("rank", [0, 1])
def test_mirrored_pairs_give_the_gradient_of_the_mean_without_noise(rank):
    """On a registration with a quadratic energy the gradient of μ is that of U at μ, whatever was drawn."""
    problem, target = ramp()
    heard = []
    replace(MEAN_FIELD, rank=rank, iterations=6).fit(
        problem.energy, seed=3, tell=lambda _, z, energies: heard.append(z.detach().clone())
    )
    both = problem.energy.chains(2)
    for z in heard:
        _, gradient = both.value_and_gradient(z)
        middle = z.mean(0).flatten()
        known = target.precision @ (middle - target.mean)
        torch.testing.assert_close(gradient.mean(0).flatten(), known, rtol=1e-10, atol=1e-10)
        assert (z[0] - z[1]).abs().max() > 0.01  # the draws are not their middle
    assert (heard[-1].mean(0) - heard[0].mean(0)).abs().max() > 0.1


def test_the_mean_of_the_ramp_is_that_of_the_closed_form():
    """Through likelihood, warp and prior, whatever the seed: the noise of mirrored pairs never reaches the mean."""
    problem, target = ramp()
    found, other = (replace(MEAN_FIELD, iterations=400).fit(problem.energy, seed=seed) for seed in (0, 1))
    torch.testing.assert_close(found.mean.flatten(), target.mean, rtol=0, atol=1e-6)
    torch.testing.assert_close(found.mean, other.mean, rtol=0, atol=1e-10)
    assert not torch.equal(found.log_std, other.log_std)


@pytest.mark.slow
def test_mean_field_variances_are_those_of_the_diagonal_of_the_precision():
    """σ_j² = 1/Λ_jj, and the bound is ½ [Σ ln Λ_jj − ln det Λ] below the evidence."""
    problem, target = ramp()
    found = replace(MEAN_FIELD, iterations=4000, lr=0.02).fit(Quadratic(target), seed=0)
    torch.testing.assert_close(found.mean.flatten(), target.mean, rtol=0, atol=1e-10)
    diagonal = problem.precision.diagonal()
    torch.testing.assert_close(found.log_std.flatten().mul(2).exp(), 1 / diagonal, rtol=0.15, atol=0)
    known = float(0.5 * (diagonal.log().sum() - torch.logdet(problem.precision)))
    gap, _ = gap_of(found, target)
    assert known > 0.1
    assert gap == pytest.approx(known, abs=0.02)
    assert gap > known


@pytest.mark.slow
def test_rank_one_finds_a_target_of_rank_one():
    """Σ = diag(σ²) + uuᵀ of eight unknowns: what the published family can be, it becomes."""
    generator = torch.Generator().manual_seed(1)
    direction = torch.randn(8, generator=generator, dtype=F64)
    variance = 0.2 + torch.rand(8, generator=generator, dtype=F64)
    covariance = torch.diag(variance) + torch.outer(direction, direction)
    target = GaussianTarget(torch.randn(8, generator=generator, dtype=F64), torch.linalg.inv(covariance))
    settings = replace(MEAN_FIELD, std=0.5, iterations=3000)
    found = replace(settings, rank=1).fit(Quadratic(target), seed=0)
    gap, fitted = gap_of(found, target)
    assert gap < 0.05
    assert float((fitted - covariance).norm() / covariance.norm()) < 0.15
    torch.testing.assert_close(found.mean[0], target.mean, rtol=0, atol=1e-6)
    alone, _ = gap_of(settings.fit(Quadratic(target), seed=0), target)
    assert alone > gap + 0.3


def test_the_trace_of_a_seed_is_the_same_bit_by_bit():
    """With noise of the positions and a likelihood that learns."""

    def trace(seed):
        generator = torch.Generator().manual_seed(7)
        images = full_images(*torch.rand(2, 1, 1, 9, 8, generator=generator))
        energy = PosteriorEnergy(
            Gaussian(residual=Difference(), sigma=None, rate=Rate(0.05), decimation=None),
            Fixed(regulariser=Diffusion(weight=1.0, units="voxel"), weight=1.4),
            Dense(),
            images,
            jitter=0.1,
            generator=torch.Generator().manual_seed(seed),
        )
        found = replace(MEAN_FIELD, rank=2, iterations=12, estimator="sampled").fit(energy, seed=seed)
        return torch.stack(found.history), found.mean, found.factor

    first, second, other = trace(4), trace(4), trace(5)
    assert all(torch.equal(*each) for each in zip(first, second, strict=True))
    assert not torch.equal(first[0], other[0])


def test_a_fit_that_ends_below_its_start_says_so(caplog):
    problem, _ = ramp()
    replace(MEAN_FIELD, iterations=40, lr=0.01).fit(problem.energy, seed=0)
    assert not caplog.records
    replace(MEAN_FIELD, iterations=40, lr=20.0).fit(problem.energy, seed=0)
    assert "inference.variational.lr (now 20)" in caplog.text
