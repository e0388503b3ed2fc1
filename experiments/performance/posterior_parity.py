"""Whether our posterior, with the switches of the released code, is that of the release of ir-sgmcmc."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from experiments.performance.inputs import Inputs
from experiments.performance.parity import Difference
from experiments.performance.peers.our_posterior import posterior
from experiments.performance.peers.sgmcmc_release import Released, SGMCMCRelease
from experiments.performance.posterior_steps_parity import field, iteration, transition
from experiments.performance.work import Contender
from medreg.inference.posterior import PosteriorEnergy

_NOTE = (
    "ours with decimation squared_released, loc_prior_on energy_released, ReplicatedDiffusion, smoothing released and "
    "update released; without uniform noise"
)


def differences(releases: Sequence[Contender], small: Inputs) -> list[Difference]:
    """Contender, quantity, relative difference and note, for the release that has a posterior.

    Args:
        releases: adapters of the checkouts that were given.
        small: cubic images to compare on.
    """
    return [
        row for release in releases if isinstance(release, SGMCMCRelease) for row in _compare(release, small)
    ]


def _compare(release: SGMCMCRelease, small: Inputs) -> list[Difference]:
    found = dict[str, tuple[Tensor, Tensor]]()
    for compare in (_values, iteration, transition):
        theirs, ours = release.trainer(small), posterior(small, form="released", jitter=0.0)
        ours.start(ours.identity())
        copy_numbers(theirs, ours)
        found |= compare(theirs, ours)
    return [(release.name, f"{name}_difference", _relative(*pair), _NOTE) for name, pair in found.items()]


def _values(theirs: Released, ours: PosteriorEnergy) -> dict[str, tuple[Tensor, Tensor]]:
    """Both terms, their gradient, and the numbers of the mixture after a step."""
    latent = field(ours.shape, seed=7)
    data, prior, gradient = their_terms(theirs, latent)
    point = latent.clone().requires_grad_(True)
    value = ours.evaluate(point)
    (mine,) = torch.autograd.grad(value.energies.sum(), point)
    theirs.terms(latent.flip(1), adapt=True)
    ours.adaptive = True
    ours.evaluate(latent)
    return {
        "data": (value.data, data),
        "prior": (value.prior, prior),
        "energy": (value.energies, data + prior),
        "gradient": (mine, gradient),
        "mixture": (ours.likelihood.state()["numbers"]["values"], _mixture(theirs)["values"]),
    }


def copy_numbers(theirs: Released, ours: PosteriorEnergy) -> None:
    """Give our mixture and prior the numbers of the release's, and the mixture its optimiser's memory."""
    prior = theirs.losses["reg"]["loss"]
    numbers = {"values": torch.stack([prior.loc.detach(), prior.log_scale.detach()])[None]}
    for density, found in ((ours.likelihood, _mixture(theirs)), (ours.prior, numbers)):
        state = density.state()
        state["numbers"] = state["numbers"] | found
        density.load_state(state)


def their_terms(theirs: Released, latent: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Data term, prior with its hyper-priors, and the gradient of their sum, of our latent field (1, 3, *S).

    The first component of the release's fields moves along the last axis.
    """
    point = latent.flip(1).clone().requires_grad_(True)
    terms = theirs.terms(point, adapt=False)
    reg = theirs.losses["reg"]
    prior = terms["reg"] - terms["reg_loc_prior"] - reg["scale_prior"](reg["loss"].log_scale).sum()
    (gradient,) = torch.autograd.grad(terms["data"] + prior, point)
    return terms["data"].detach()[None], prior.detach()[None], gradient.flip(1)


def _mixture(theirs: Released) -> dict[str, Any]:
    """Its numbers and the moments of its Adam in the form of our state."""
    loss, memory = theirs.losses["data"]["loss"], theirs.own.optimizer_GMM.state
    parts = (loss.log_std, loss.logits)

    def joined(tensors: Iterable[Tensor]) -> Tensor:
        return torch.cat([tensor.detach() for tensor in tensors]).double()[None]

    return {
        "values": joined(parts),
        "mean": joined(memory[part]["exp_avg"] for part in parts),
        "square": joined(memory[part]["exp_avg_sq"] for part in parts),
        "steps": memory[loss.log_std]["step"],
    }


def _relative(one: Tensor, other: Tensor) -> float:
    """Mean size of the difference over that of theirs: at kinks of linear interpolation rounding decides a voxel."""
    one, other = one.detach().double(), other.detach().double()
    return float((one - other).abs().sum() / other.abs().sum())
