"""Whether a whole VI iteration and a whole transition of ours, with its switches, are those of ir-sgmcmc."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from experiments.performance.peers.our_posterior import FACTOR, SIGMA, STEP_SIZE
from experiments.performance.peers.sgmcmc_release import CHAINS, Released
from medreg.inference.posterior import PosteriorEnergy
from medreg.inference.sampling.langevin import SGLD
from medreg.inference.sampling.noise import Noise
from medreg.inference.variational.distribution import Draws
from medreg.inference.variational.estimators import elbo
from medreg.inference.variational.families import Structured
from medreg.inference.variational.modes import Noise as JointNoise

Pair = tuple[Tensor, Tensor]


def field(shape: tuple[int, ...], *, seed: int) -> Tensor:
    """Standard normal numbers."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def iteration(theirs: Released, ours: PosteriorEnergy) -> dict[str, Pair]:
    """Gradients of the variational loss in mean, ln σ and factor, ours and theirs, for the same noise.

    Args:
        theirs: its trainer.
        ours: the posterior of one pair with the same numbers.
    """
    local, shared = field(ours.shape, seed=11), torch.ones(1)
    with _noise_of(local.flip(1), shared), theirs.without_jitter():
        theirs.iterate(lean=True)
    family = Structured(math.prod(ours.shape[1:]), 1, parametrisation="direct")
    family.start(0.0, SIGMA, FACTOR)
    noise = JointNoise(local.view(1, -1), shared.view(1, 1, 1), mirrored=True)
    draws = Draws(family.distribution(), noise)
    energy = ours.chains(2)
    energy.adaptive = True
    (-elbo(draws, -energy(draws.values.view(energy.shape)), "sampled")).backward()
    assert family.directions is not None
    mine = _gradients(family.location, family.log_std, family.directions)
    mean, log_variance, factor = _gradients(theirs.q["mu"], theirs.q["log_var"], theirs.q["u"])
    other = (mean, 2 * log_variance, factor)  # with respect to ln σ
    names = ("gradient of the mean", "gradient of ln σ", "gradient of the factor")
    return {
        name: (one.view(ours.shape), two.flip(1)) for name, one, two in zip(names, mine, other, strict=True)
    }


def _gradients(*parameters: Tensor) -> list[Tensor]:
    found = [parameter.grad for parameter in parameters]
    return [gradient for gradient in found if gradient is not None]


def transition(theirs: Released, ours: PosteriorEnergy) -> dict[str, Pair]:
    """What two chains have moved by after one transition from the same state with the same noise."""
    energy = ours.chains(CHAINS)
    energy.adaptive = True
    noise = field(energy.shape, seed=12)
    start = field(energy.shape, seed=13)
    with torch.no_grad():
        theirs.own.v_curr_state.copy_(start.flip(1))
    with _noise_of(noise.flip(1), torch.zeros(1)), theirs.without_jitter():
        theirs.transition()
    variance = theirs.own.SGLD_params["sigma"][:1].flip(1).square()
    moving = SGLD(STEP_SIZE, update="released").begin(start, _Given(noise), variance=variance)
    moving.step(energy)
    return {"transition": (moving.z - start, theirs.own.v_curr_state.detach().flip(1) - start)}


class _Given(Noise):
    """Noise that is known."""

    def __init__(self, values: Tensor) -> None:
        super().__init__([])
        self.values = values

    def fill(self, out: Tensor) -> Tensor:
        """Copy it."""
        return out.copy_(self.values)


@contextmanager
def _noise_of(like: Tensor, scalar: Tensor) -> Iterator[None]:
    """Let the release draw these: `randn_like` the field, `randn` the number."""
    kept = torch.randn_like, torch.randn
    torch.randn_like, torch.randn = lambda *_, **__: like, lambda *_, **__: scalar
    try:
        yield
    finally:
        torch.randn_like, torch.randn = kept
