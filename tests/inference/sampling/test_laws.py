"""Samplers have the stationary laws that are known in closed form, the correct ones and the released ones."""

from __future__ import annotations

import math

import pytest
import torch

from medreg.errors import ConfigError
from medreg.inference.objective import EnergyFunction
from medreg.inference.sampling.hamiltonian import SGHMC
from medreg.inference.sampling.langevin import SGLD
from medreg.inference.sampling.noise import Noise

MEAN, CHAINS = 0.7, 20_000
# τ, λ, σ and the variance of the released samples (Gaussian target, derived in docs/explanation/sampling.md)
TABLE = [
    (0.4, 1.0, 1.0, 1.0),
    (0.1, 1.0, 1.0, 0.2105),
    (0.01, 1.0, 1.0, 0.0201),
    (0.4, 0.25, 1.0, 0.842),
    (0.4, 1.0, 0.5, 0.2105),
]


class Gaussian(EnergyFunction):
    """½ (z − m)ᵀ Λ (z − m) with a noisy gradient on demand."""

    def __init__(self, precision, mean=MEAN, noise=0.0):
        self.precision, self.mean, self.noise = precision, mean, noise

    def __call__(self, z):
        off = z - self.mean
        pushed = off @ self.precision if self.precision.ndim else off * self.precision
        energies = 0.5 * (off * pushed).sum(1)
        return energies + (self.noise * torch.randn_like(z) * z).sum(1) if self.noise else energies


def streams(seed, count=1):
    return Noise.spawn(torch.Generator().manual_seed(seed), count)


def run(sampler, curvature, start_variance, *, steps, deviation=1.0, lags=(), noise=0.0):
    """Independent one-dimensional chains side by side as the coordinates of one, started near their law.

    Returns the pooled mean and variance of samples far apart, and autocovariances of the last state.
    """
    generator = torch.Generator().manual_seed(3)
    start = MEAN + start_variance**0.5 * torch.randn(1, CHAINS, generator=generator)
    chains = sampler.begin(start, streams(5), variance=torch.full((1, CHAINS), deviation**2))
    energy = Gaussian(torch.tensor(curvature), noise=noise)
    history = torch.cat([chains.step(energy).sample for _ in range(steps)])
    late = history[steps // 3 :]
    centred = history - MEAN
    covariances = [
        (centred[steps // 3 : len(centred) - lag] * centred[steps // 3 + lag :]).mean() for lag in lags
    ]
    return late.mean().item(), late.var().item(), [value.item() for value in covariances]


@pytest.mark.parametrize(("tau", "curvature", "deviation", "released"), TABLE)
def test_released_law(tau, curvature, deviation, released):
    a = tau * deviation**2 * curvature
    law = 4 * tau * deviation**2 / (2 - a)
    assert law == pytest.approx(released, rel=2e-3)
    steps = int(60 + 6 / a)  # the noise-free state has to forget its start
    mean, variance, (lag0, lag1) = run(
        SGLD(tau, update="released"), curvature, law, steps=steps, deviation=deviation, lags=(0, 1)
    )
    assert mean == pytest.approx(MEAN, abs=0.02)
    assert variance == pytest.approx(law, rel=0.03)
    assert lag1 / lag0 == pytest.approx(-a / 2, abs=0.01)


@pytest.mark.parametrize(("tau", "curvature", "deviation"), [*(row[:3] for row in TABLE), (0.9, 2.0, 0.8)])
def test_langevin_law(tau, curvature, deviation):
    a = tau * deviation**2 * curvature
    law = 2 / (curvature * (2 - a))
    # Not started in the law, but wider by a quarter: it has to be found
    steps = int(60 + 6 / a)
    mean, variance, (lag0, lag1) = run(
        SGLD(tau), curvature, 1.25 * law, steps=steps, deviation=deviation, lags=(0, 1)
    )
    assert mean == pytest.approx(MEAN, abs=0.03 * law**0.5)
    assert variance == pytest.approx(law, rel=0.03)
    assert lag1 / lag0 == pytest.approx(1 - a, abs=0.01)


def test_langevin_law_with_a_noisy_gradient():
    torch.manual_seed(0)
    tau, curvature, noise = 0.3, 1.5, 1.2
    a = tau * curvature
    _, variance, _ = run(SGLD(tau), curvature, 1.0, steps=60, noise=noise)
    assert variance == pytest.approx((2 + tau * noise**2) / (curvature * (2 - a)), rel=0.03)


def rotation(h, friction, mass, curvature, deviation):
    """c, κ and the complex number that the oscillation multiplies by in a step."""
    c, kappa = math.exp(-friction * h), h**2 * deviation**2 / mass * curvature
    cosine = (1 + c) * (1 - kappa / 2) / (2 * c**0.5)
    return c, kappa, cosine


@pytest.mark.parametrize(
    ("h", "friction", "mass", "curvature", "deviation"),
    [
        (0.6, 0.5, 1.0, 1.0, 1.0),
        (0.3, 0.8, 0.5, 4.0, 0.7),
        (1.5, 1.0, 2.0, 1.0, 1.3),
        (0.5, 4.0, 1.0, 1.0, 1.0),
    ],
)
def test_hamiltonian_law_is_exact_at_any_step(h, friction, mass, curvature, deviation):
    sampler = SGHMC(h, friction=friction, mass=mass)
    c, kappa, _ = rotation(h, friction, mass, curvature, deviation)
    steps = 90 if friction < 4 else 200
    mean, variance, (lag0, lag1) = run(
        sampler, curvature, 1.25 / curvature, steps=steps, deviation=deviation, lags=(0, 1)
    )
    assert mean == pytest.approx(MEAN, abs=0.03 / curvature**0.5)
    assert variance == pytest.approx(1 / curvature, rel=0.03)
    assert lag1 / lag0 == pytest.approx(1 - (1 + c) * kappa / 4, abs=0.015)


def test_underdamped_chains_oscillate_as_derived():
    h, friction, curvature = 0.5, 0.3, 1.0
    c, _, cosine = rotation(h, friction, 1.0, curvature, 1.0)
    assert abs(cosine) < 1  # underdamped
    omega = math.acos(cosine)
    lags = tuple(range(16))
    _, _, found = run(SGHMC(h, friction=friction), curvature, 1.0, steps=90, lags=lags)
    for lag in lags:
        law = c ** (lag / 2) * (
            math.cos(lag * omega) + (1 - c) / (2 * c**0.5 * math.sin(omega)) * math.sin(lag * omega)
        )
        assert found[lag] / found[0] == pytest.approx(law, abs=0.02)
    assert min(found) < -0.3 * found[0]  # overdamped chains never swing to the other side


@pytest.mark.parametrize(("h", "friction"), [(0.5, 1.0), (1.0, 0.5), (0.8, 2.0)])
def test_autocorrelation_time(h, friction):
    lags = tuple(range(28))  # beyond, nothing is left
    _, _, found = run(SGHMC(h, friction=friction), 1.0, 1.0, steps=110, lags=lags)
    time = 1 + 2 * sum(found[1:]) / found[0]
    assert time == pytest.approx(4 / h**2 * math.tanh(friction * h / 2), abs=0.1)


def test_hamiltonian_law_with_a_noisy_gradient():
    torch.manual_seed(0)
    h, friction, curvature, noise = 0.6, 0.8, 1.0, 1.2
    c, kappa, _ = rotation(h, friction, 1.0, curvature, 1.0)
    law = (1 + noise**2 * h**2 * (1 + c) / ((1 - c) * (4 - kappa))) / curvature
    _, variance, _ = run(SGHMC(h, friction=friction), curvature, law, steps=90, noise=noise)
    assert variance == pytest.approx(law, rel=0.03)


@pytest.mark.parametrize(
    "make",
    [
        lambda: SGLD(0.0),
        lambda: SGLD(float("nan")),
        lambda: SGLD(0.1, update="relased"),
        lambda: SGHMC(0.1, friction=-1.0),
        lambda: SGHMC(0.1, friction=1.0, mass=0.0),
    ],
)
def test_impossible_settings_are_refused(make):
    with pytest.raises(ConfigError, match="sampler"):
        make()
