"""Our pieces of inference: the settings of the release's third experiment, and the engine's notebook."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from experiments.performance.inputs import Inputs
from experiments.performance.peers.notebook import (
    BETAS,
    LEARNING_RATE,
    MODE,
    RANK,
    STEPS,
    NormalTarget,
    divergence,
)
from experiments.performance.work import Inference
from medreg.geometry.sobolev import SobolevFilter
from medreg.geometry.svf import StationaryVelocity
from medreg.inference.level import full_images
from medreg.inference.posterior import PosteriorEnergy
from medreg.inference.sampling.langevin import SGLD
from medreg.inference.sampling.noise import Noise
from medreg.inference.sampling.sampler import Trajectory
from medreg.inference.variational.families import Structured
from medreg.inference.variational.fit import Posterior, fit
from medreg.inference.variational.fitting import Fitting
from medreg.losses.likelihood.decimation import VirtualDecimation
from medreg.losses.likelihood.mixture import GaussianMixture
from medreg.losses.likelihood.residual import LocallyStandardised
from medreg.losses.prior.lognormal import LogNormal
from medreg.losses.prior.replicated import ReplicatedDiffusion
from medreg.losses.regularisation.diffusion import Diffusion
from medreg.losses.tuning import Rate

# configs/experiment3/config.json of dgrzech/ir-sgmcmc (5d300e9)
SIGMA, FACTOR = 0.5, 0.1  # of the variational distribution at the start, voxels
STEP_SIZE, CHAINS = 0.4, 2
_ITERATIONS = 1024


def posterior(
    inputs: Inputs, *, form: Literal["correct", "released"] = "correct", jitter: float = 0.1
) -> PosteriorEnergy:
    """The posterior of that experiment for the pair of the inputs.

    Args:
        inputs: images.
        form: with the switches of the released code, or without.
        jitter: largest noise of the transformation, voxels.
    """
    released = form == "released"
    likelihood = GaussianMixture(
        residual=LocallyStandardised(window=5),
        components=4,
        scale_prior=(0.0, 2.3),
        dirichlet=0.5,
        rate=Rate(0.2, 0.001),
        warm_up=25,
        decimation=VirtualDecimation(residual="squared_released" if released else "normalised"),
    )
    regulariser = ReplicatedDiffusion if released else Diffusion
    prior = LogNormal(
        regulariser=regulariser(weight=1.0, units="voxel"),
        weight=1.6,
        log_scale_prior=(2.8, 5.0),
        rate=Rate(0.01, 0.001),
        loc_prior_on="energy_released" if released else "loc",
    )
    smoothing = (
        SobolevFilter(half_width=3, strength=0.5, form="released", boundary="replicate")
        if released
        else SobolevFilter(half_width=3, strength=0.5)
    )
    return PosteriorEnergy(
        likelihood,
        prior,
        StationaryVelocity(12),
        full_images(inputs.fixed, inputs.moving),
        smoothing=smoothing,
        jitter=jitter,
    )


def notebook(inputs: Inputs, *, steps: int = STEPS) -> Inference:
    """The notebook's problem with its family, mode, optimiser and number of steps."""
    target, found = NormalTarget.random(seed=0), list[Posterior]()

    def run() -> None:
        found[:] = [
            fit(
                lambda x: -target.energy(x), len(target.mean), "structured", rank=RANK, mode=MODE, pairs=1,
                steps=steps, lr=LEARNING_RATE, schedule="constant", betas=BETAS, estimator="sampled",
                dtype=torch.float32,
            )
        ]  # fmt: skip

    def figures() -> dict[str, float]:
        mean, covariance = found[0].mean.detach(), found[0].covariance().detach()
        return {"kl": divergence(target, mean, covariance)}

    return Inference(run, figures)


def iteration(inputs: Inputs) -> Inference:
    """A VI iteration of a mirrored pair of samples, with one step of mixture and prior for each."""
    energy = posterior(inputs).chains(2)
    energy.adaptive = True
    family = Structured(math.prod(energy.shape[1:]), 1, parametrisation="direct", dtype=inputs.fixed.dtype)
    family.start(0.0, SIGMA, FACTOR)
    fitting = Fitting(
        family, steps=_ITERATIONS, lr=0.01, schedule="inverse", mode="paired", pairs=1, estimator="sampled"
    )

    def run() -> None:
        draws = fitting.draw()
        values, gradient = energy.value_and_gradient(draws.values.detach().view(energy.shape))
        fitting.update(draws, -values, -gradient.view_as(draws.values))

    return Inference(run)


def transition(inputs: Inputs, *, chains: int = CHAINS) -> Inference:
    """A transition of SGLD of so many chains in a batch."""
    energy, moving = _chains(inputs, chains)
    return Inference(lambda: moving.step(energy))


def one_after_another(inputs: Inputs, *, chains: int) -> Inference:
    """The same transitions, chain by chain."""
    alone = [_chains(inputs, 1) for _ in range(chains)]

    def run() -> None:
        for energy, moving in alone:
            moving.step(energy)

    return Inference(run)


def bare(inputs: Inputs, *, samples: int = CHAINS) -> Inference:
    """The energy of so many samples, forward and backward, and nothing else."""
    energy = posterior(inputs).chains(samples)
    at = _start(energy)
    energy.value_and_gradient(at)
    return Inference(lambda: energy.value_and_gradient(at))


def _chains(inputs: Inputs, chains: int) -> tuple[PosteriorEnergy, Trajectory]:
    energy = posterior(inputs).chains(chains)
    energy.adaptive = True
    start = _start(energy)
    noise = Noise.spawn(torch.Generator().manual_seed(1), chains)
    return energy, SGLD(STEP_SIZE).begin(start, noise, variance=torch.full_like(start[:1], SIGMA**2))


def _start(energy: PosteriorEnergy) -> Tensor:
    """Samples of the variational distribution before its first iteration."""
    return SIGMA * torch.randn(energy.shape, generator=torch.Generator().manual_seed(0))
