"""Samplers find posteriors that are known: correlated, smoothed, started anywhere."""

from __future__ import annotations

import pytest
import torch

from medreg.errors import CompositionError, NumericalError
from medreg.inference.objective import EnergyFunction
from medreg.inference.sampling.diagnostics import rank_rhat
from medreg.inference.sampling.hamiltonian import SGHMC
from medreg.inference.sampling.langevin import SGLD
from medreg.inference.sampling.noise import Noise
from medreg.inference.sampling.plan import Plan
from medreg.inference.sampling.probe import Probe
from medreg.inference.sampling.run import sample
from medreg.inference.sampling.starts import from_identity, from_noise, from_variational

MANY = 3000  # independent problems side by side


class Quadratic(EnergyFunction):
    """½ vᵀ H v of v = A z; with `straight` the gradient passes A unchanged, as in the released code."""

    def __init__(self, precision, filter_=None, *, straight=False):
        self.precision, self.filter, self.straight = precision, filter_, straight

    def __call__(self, z):
        v = z if self.filter is None else z @ self.filter
        if self.straight:
            v = z + (v - z).detach()
        return 0.5 * (v @ self.precision * v).flatten(1).sum(1)


def streams(count=1):
    return Noise.spawn(torch.Generator().manual_seed(1), count)


def covariance_after(sampler, energy, size, *, steps, snapshots, apart):
    """Covariance of v over independent problems and over states far apart."""
    chains = sampler.begin(torch.zeros(1, MANY, size), streams())
    for _ in range(steps):
        chains.step(energy)
    found = []
    for _ in range(snapshots):
        for _ in range(apart):
            chains.step(energy)
        z = chains.propose()[0]
        found.append((z if energy.filter is None else z @ energy.filter).clone())
    v = torch.cat(found)
    return v.mT @ v / len(v)


def apart(found, truth):
    return float((found - truth).norm() / truth.norm())


def correlated(size=10):
    generator = torch.Generator().manual_seed(0)
    turn = torch.linalg.qr(torch.randn(size, size, generator=generator)).Q
    return turn @ torch.diag(torch.linspace(0.5, 2, size)) @ turn.mT


@pytest.mark.parametrize(
    "sampler", [SGLD(0.03), SGHMC(0.3, friction=1.0)], ids=lambda each: type(each).__name__
)
def test_correlated_gaussian(sampler):
    precision = correlated()
    found = covariance_after(sampler, Quadratic(precision), 10, steps=250, snapshots=4, apart=40)
    assert apart(found, torch.linalg.inv(precision)) < 0.05


@pytest.mark.parametrize(
    "sampler", [SGLD(0.3), SGHMC(0.4, friction=1.0)], ids=lambda each: type(each).__name__
)
def test_four_chains_agree(sampler):
    probe = Probe(torch.arange(1)[None])
    start = 2 * torch.randn(4, 10, 1, generator=torch.Generator().manual_seed(4))
    precision = correlated()

    class Columns(EnergyFunction):
        def __call__(self, z):
            return 0.5 * (z[..., 0] @ precision * z[..., 0]).sum(1)

    sample(
        Columns(),
        start,
        sampler,
        plan=Plan(burn_in=100, transitions=3000, thin=1),
        generator=torch.Generator().manual_seed(0),
        listeners=[probe],
    )
    chains = probe.chains()[..., 0]
    assert chains.shape == (4, 3000, 10)
    assert float(rank_rhat(chains).max()) < 1.01
    assert float(rank_rhat(probe.scalar("energy"))) < 1.01


def circulant(first):
    return torch.stack([torch.roll(first, shift) for shift in range(len(first))])


def periodic_problem(size=24):
    """Stiffness H = ½ I + 2 L and the filter S of half-width 2 and strength ½, both periodic; and S^½."""
    first = torch.zeros(size)
    first[[0, 1, -1]] = torch.tensor([4.5, -2.0, -2.0])
    kernel = torch.zeros(size)
    kernel[[0, 1, -1, 2, -2]] = torch.tensor([0.6, 0.16, 0.16, 0.04, 0.04])
    stiffness, smoothing = circulant(first), circulant(kernel)
    values, vectors = torch.linalg.eigh(smoothing)
    assert values.min() > 0
    return stiffness, smoothing, vectors @ torch.diag(values.sqrt()) @ vectors.mT


def test_noise_of_the_root_of_the_filter_leaves_the_posterior():
    stiffness, _, root = periodic_problem()
    energy = Quadratic(stiffness, root)
    found = covariance_after(SGLD(0.02), energy, 24, steps=300, snapshots=4, apart=80)
    assert apart(found, torch.linalg.inv(stiffness)) < 0.05


def test_noise_of_the_whole_filter_smooths_the_posterior():
    stiffness, smoothing, _ = periodic_problem()
    energy = Quadratic(stiffness, smoothing, straight=True)
    found = covariance_after(SGLD(0.02), energy, 24, steps=300, snapshots=4, apart=80)
    truth = torch.linalg.inv(stiffness)
    assert apart(found, smoothing @ truth) < 0.05
    assert found.diagonal().mean() < 0.9 * truth.diagonal().mean()


def test_starts():
    generator = torch.Generator().manual_seed(0)
    identity = torch.stack([torch.full((3, 4), value) for value in (1.0, 2.0)])
    start = from_identity(identity, chains=3)
    assert start.variance is None
    torch.testing.assert_close(start.z, identity.repeat(3, 1, 1))

    noisy = from_noise(torch.ones(1, 200, 100), chains=2, generator=generator).z
    assert noisy.std() == pytest.approx(1, abs=0.02)
    assert noisy.mean() == pytest.approx(1, abs=0.02)
    assert not torch.equal(noisy[0], noisy[1])

    mean, std = torch.tensor([[1.0, -1.0], [3.0, 0.0]]), torch.tensor([[0.5, 2.0], [1.0, 0.1]])
    factor = torch.tensor([[[1.0, 1.0]], [[0.0, 0.3]]])
    start = from_variational(mean, std.log(), factor, chains=5000, generator=generator)
    draws = start.z.unflatten(0, (5000, 2))
    for pair in range(2):
        torch.testing.assert_close(draws[:, pair].mean(0), mean[pair], atol=0.1, rtol=0)
        law = torch.diag(std[pair] ** 2) + factor[pair].mT @ factor[pair]
        torch.testing.assert_close(torch.cov(draws[:, pair].mT), law, atol=0.15, rtol=0.06)
    torch.testing.assert_close(start.variance, std**2)  # of the diagonal alone


def test_preconditioner_of_every_pair_serves_all_its_chains():
    variance = torch.tensor([[1.0, 4.0], [0.25, 9.0]])
    z = torch.zeros(4, 2)
    energy = Quadratic(torch.eye(2))
    once = SGLD(0.1).begin(z, streams(4), variance=variance)
    written_out = SGLD(0.1).begin(z, streams(4), variance=variance.repeat(2, 1))
    for _ in range(3):
        assert torch.equal(once.step(energy).sample, written_out.step(energy).sample)


@pytest.mark.parametrize(
    ("variance", "error"),
    [
        (torch.ones(3, 2), CompositionError),
        (torch.ones(2), CompositionError),
        (torch.tensor([[1.0, 0.0]]), NumericalError),
        (torch.tensor([[1.0, torch.nan]]), NumericalError),
    ],
)
def test_preconditioner_that_cannot_be_is_refused(variance, error):
    with pytest.raises(error, match="preconditioner"):
        SGLD(0.1).begin(torch.zeros(4, 2), streams(4), variance=variance)
