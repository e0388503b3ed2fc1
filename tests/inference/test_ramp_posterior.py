"""A registration whose posterior is known in closed form: a ramp, moved by a displacement with a Gaussian prior.

With M(x) = g x, F = M(x + u) + noise of standard deviation s and the prior exp(−½ λ uᵀLu), the posterior of the component
along the ramp is normal with precision (g²/s²) diag(mask) + λ L.
"""

from __future__ import annotations

import math

import pytest
import torch

from medreg.geometry.dense import Dense
from medreg.inference.level import full_images
from medreg.inference.posterior import PosteriorEnergy
from medreg.inference.posterior_inference import ChainInference
from medreg.inference.sampling.hamiltonian import SGHMC
from medreg.inference.sampling.langevin import SGLD
from medreg.inference.sampling.moments import Moments
from medreg.inference.sampling.ranks import Ranks
from medreg.inference.variational.fit import fit
from medreg.inference.variational_pairs import VariationalFit
from medreg.losses.likelihood.gaussian import Gaussian
from medreg.losses.likelihood.residual import Difference
from medreg.losses.prior.fixed import Fixed
from medreg.losses.regularisation.diffusion import Diffusion
from medreg.losses.tuning import Rate
from medreg.models.bayes import BayesianRegistration

SHAPE = (9, 5)
SLOPE, SIGMA, WEIGHT = 0.5, 0.1, 20.0
UNIT = 0.1  # voxels, about the standard deviation of the posterior
EDGE = 2  # voxels that are left out at both ends of the ramp, beyond which no sample moves
NOMINAL = torch.arange(0.05, 1.0, 0.05)


def laplacian() -> torch.Tensor:
    """L of the squared forward differences, (N, N) float64."""
    count = math.prod(SHAPE)
    index = torch.arange(count).reshape(SHAPE)
    matrix = torch.zeros(count, count, dtype=torch.float64)
    for one, two in ((index[1:], index[:-1]), (index[:, 1:], index[:, :-1])):
        for a, b in zip(one.flatten().tolist(), two.flatten().tolist(), strict=True):
            matrix[a, a] += 1
            matrix[b, b] += 1
            matrix[a, b] -= 1
            matrix[b, a] -= 1
    return matrix


def mask() -> torch.Tensor:
    inside = torch.zeros(1, 1, *SHAPE)
    inside[:, :, EDGE : SHAPE[0] - EDGE] = 1
    return inside


def precision() -> torch.Tensor:
    """Of the posterior, (N, N)."""
    return (SLOPE / SIGMA) ** 2 * torch.diag(mask().double().flatten()) + WEIGHT * laplacian()


def simulated(pairs: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Fixed and moving images, and the motion along the ramp (P, 1, *S), of the prior with a shift."""
    generator = torch.Generator().manual_seed(5)
    values, vectors = torch.linalg.eigh(WEIGHT * laplacian())
    spread = torch.where(values > 1e-9, values.clamp_min(1e-9).rsqrt(), 0.3)
    noise = torch.randn(pairs, len(values), generator=generator, dtype=torch.float64)
    truth = ((noise * spread) @ vectors.mT).reshape(pairs, 1, *SHAPE).float()
    ramp = SLOPE * torch.arange(SHAPE[0], dtype=torch.float32).reshape(1, 1, -1, 1).expand(pairs, 1, *SHAPE)
    fixed = ramp + SLOPE * truth + SIGMA * torch.randn(pairs, 1, *SHAPE, generator=generator)
    return fixed, ramp.contiguous(), truth


def parts() -> tuple[Gaussian, Fixed, Dense]:
    likelihood = Gaussian(residual=Difference(), sigma=SIGMA, rate=Rate(0.0), decimation=None)
    return likelihood, Fixed(regulariser=Diffusion(weight=1.0, units="voxel"), weight=WEIGHT), Dense()


def closed_form(fixed: torch.Tensor, moving: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Posterior mean (P, N) and covariance (N, N)."""
    covariance = torch.linalg.inv(precision())
    pull = SLOPE / SIGMA**2 * ((fixed - moving) * mask()).double().flatten(1)
    return pull @ covariance, covariance


def test_full_covariance_vi_agrees_with_the_closed_form():
    fixed, moving, _ = simulated(1)
    images = full_images(fixed.double(), moving.double(), fixed_mask=mask().double())
    energy = PosteriorEnergy(*parts(), images, jitter=0.0)
    count = math.prod(SHAPE)

    def log_density(scaled: torch.Tensor) -> torch.Tensor:  # the other component has no data and stays at rest
        along = UNIT * scaled
        z = torch.stack([along, torch.zeros_like(along)], 1).reshape(-1, 2, *SHAPE)
        return -energy.chains(len(z))(z)

    found = fit(
        log_density, count, "full", start=torch.zeros(count), steps=1500, lr=0.05, pairs=16, estimator="closed"
    )
    mean, covariance = closed_form(fixed, moving)
    assert (UNIT * found.mean - mean[0]).abs().max() < 1e-8  # mirrored pairs are exact on a quadratic
    error = (UNIT**2 * found.covariance() - covariance).norm() / covariance.norm()
    assert error < 0.1


SAMPLERS = {"sgld": SGLD(0.1), "sghmc": SGHMC(0.5, friction=0.7)}


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLERS)
def test_chains_are_calibrated_over_200_simulations(name):
    pairs = 200
    fixed, moving, truth = simulated(pairs)
    variational = VariationalFit(
        rank=0, iterations=150, std=0.05, factor=0.0, lr=0.03, schedule="cosine", decay=0.0, betas=(0.9, 0.99),
        estimator="closed",
    )  # fmt: skip
    inference = ChainInference(
        sampler=SAMPLERS[name], variational=variational, start="vi", precondition="vi", chains=1, burn_in=300,
        transitions=2000, thin=20,
    )  # fmt: skip
    likelihood, prior, transformation = parts()
    model = BayesianRegistration(
        likelihood, prior, transformation, inference=inference, smoothing=None, jitter=0.0, prior_on="field", seed=0
    )
    moments, ranks = Moments(pairs=pairs), Ranks(torch.cat([truth, torch.zeros_like(truth)], 1))
    model(fixed, moving, fixed_mask=mask().expand(pairs, -1, -1, -1), listeners=[moments, ranks])

    inside = (slice(None), 0, slice(EDGE, SHAPE[0] - EDGE))
    mean, covariance = closed_form(fixed, moving)
    std = covariance.diagonal().sqrt().reshape(SHAPE)[inside[2]]
    assert (moments.std()[inside] / std).mean().item() == pytest.approx(1.0, abs=0.04)
    expected = mean.reshape(pairs, *SHAPE)[:, inside[2]]
    assert ((moments.mean()[inside] - expected) / std).square().mean().sqrt() < 0.25  # Monte Carlo error

    z = ((truth[:, 0, inside[2]] - moments.mean()[inside]) / moments.std()[inside]).abs()
    covered = (z.flatten()[:, None] <= torch.special.ndtri((1 + NOMINAL) / 2)).double().mean(0)
    assert (covered - NOMINAL).abs().max() < 0.03
    assert (covered - NOMINAL).abs().mean() < 0.02
    below = ranks.below[inside].flatten().double() / 100  # uniform in 0 … 1
    shares = torch.histc(below.clamp(0, 0.999), bins=10, min=0, max=1) / below.numel()
    assert (shares - 0.1).abs().max() < 0.02


def test_the_released_update_is_not_calibrated():
    fixed, moving, _ = simulated(20)
    variational = VariationalFit(
        rank=0, iterations=150, std=0.05, factor=0.0, lr=0.03, schedule="cosine", decay=0.0, betas=(0.9, 0.99),
        estimator="closed",
    )  # fmt: skip
    inference = ChainInference(
        sampler=SGLD(0.1, update="released"), variational=variational, start="vi", precondition="vi", chains=1,
        burn_in=100, transitions=1000, thin=10,
    )  # fmt: skip
    model = BayesianRegistration(
        *parts(), inference=inference, smoothing=None, jitter=0.0, prior_on="field", seed=0
    )
    moments = Moments(pairs=20)
    model(fixed, moving, fixed_mask=mask().expand(20, -1, -1, -1), listeners=[moments])
    _, covariance = closed_form(fixed, moving)
    std = covariance.diagonal().sqrt().reshape(SHAPE)[EDGE:-EDGE]
    ratio = (moments.std()[:, 0, EDGE:-EDGE] / std).mean().item()
    # 4τσ²/(2 − a) of each direction, with σ² = 1/Λ_jj below its variance: far too narrow
    assert ratio < 0.6
