"""A variational fit that begins at the answer of another model: another start, the same posterior."""

from __future__ import annotations

import pytest
import torch

from medreg.errors import CompositionError
from medreg.geometry.ffd import FreeFormVelocity
from medreg.geometry.sobolev import SobolevFilter
from medreg.geometry.warp import warp
from medreg.inference.descent import Adam
from medreg.inference.level import full_images
from medreg.inference.posterior_inference import VariationalInference
from medreg.inference.smoothing import gaussian_smooth
from medreg.inference.variational_pairs import VariationalFit
from medreg.losses.likelihood.gaussian import Gaussian
from medreg.losses.likelihood.residual import Difference
from medreg.losses.prior.fixed import Fixed
from medreg.losses.regularisation.diffusion import Diffusion
from medreg.losses.similarity.ssd import SSD
from medreg.losses.tuning import Rate
from medreg.models.bayes import BayesianRegistration
from medreg.models.optimise import InstanceOptimisation

FIT = VariationalFit(
    rank=1, iterations=1, std=1e-4, factor=1e-6, lr=1e-6, schedule="constant", decay=0.0, betas=(0.9, 0.99),
    estimator="closed",
)  # fmt: skip


def pair():
    generator = torch.Generator().manual_seed(0)
    moving = gaussian_smooth(torch.randn(1, 1, 20, 16, generator=generator), 1.5)
    truth = gaussian_smooth(torch.randn(1, 2, 20, 16, generator=generator), 4.0)
    moving, truth = moving / moving.std(), 1.5 * truth / truth.abs().max()
    return warp(moving, truth), moving


def model(smoothing=None, start=None):
    return BayesianRegistration(
        Gaussian(residual=Difference(), sigma=0.05, rate=Rate(0.0), decimation=None),
        Fixed(regulariser=Diffusion(weight=1.0, units="voxel"), weight=2.0),
        FreeFormVelocity(4, 4),
        inference=VariationalInference(variational=FIT, samples=2),
        smoothing=smoothing,
        jitter=0.0,
        prior_on="field",
        seed=1,
        start=start,
    )


def optimisation(stride=4):
    levels = [
        {"shrink": 2, "sigma": 0.5, "iterations": 20, "learning_rate": 0.2},
        {"shrink": 1, "sigma": 0.0, "iterations": 20, "learning_rate": 0.2},
    ]
    return InstanceOptimisation(
        SSD(weight=1.0),
        FreeFormVelocity(stride, 4),
        regularisation=Diffusion(weight=1e-3, units="voxel"),
        levels=levels,
        minimiser=Adam(betas=(0.9, 0.999), damping=1.0),
        smoothing=0.0,
        tolerance=0.0,
    )


@pytest.mark.parametrize("smoothing", [None, SobolevFilter(half_width=1, strength=0.5)])
def test_the_fit_begins_there(smoothing):
    fixed, moving = pair()
    found = model(smoothing, optimisation())(fixed, moving).displacement
    there = optimisation()(fixed, moving).displacement
    assert there.abs().max() > 0.5
    assert (found - there).abs().max() < 1e-2
    assert model(smoothing)(fixed, moving).displacement.abs().max() < 1e-2


def test_the_posterior_stays_the_same():
    energy = model().energy(full_images(*pair()))
    z = 0.1 * torch.randn(energy.shape, generator=torch.Generator().manual_seed(3))
    before = energy(z)
    energy.begin_at(torch.ones(energy.shape))
    assert torch.equal(energy(z), before)
    assert torch.equal(energy.identity(), torch.zeros(energy.shape))
    assert torch.equal(energy.beginning(), torch.ones(energy.shape))


def test_another_transformation_is_refused():
    with pytest.raises(CompositionError, match="transformation of the model"):
        model(start=optimisation(stride=3))(*pair())
