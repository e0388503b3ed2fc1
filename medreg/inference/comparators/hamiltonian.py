"""Hamiltonian Monte Carlo with acceptance, the reference for small models: exact in the limit, in float64.

Sampling of registrations uses `medreg.inference.sampling`, which never rejects; here a long run of many chains says
what the posterior of a small network is.

Source: Neal, MCMC using Hamiltonian dynamics, 2011; the step size is adapted by dual averaging, Hoffman and Gelman,
JMLR 15, 2014, algorithm 5.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from medreg.errors import ConfigError, NumericalError

Density = Callable[[Tensor], Tensor]  # (C, D) → (C,), up to a constant


@dataclass(frozen=True)
class HamiltonianRun:
    """What a run leaves.

    Attributes:
        samples: (S, C, D).
        acceptance: mean probability of acceptance after warm-up.
        step_size: as adapted.
    """

    samples: Tensor
    acceptance: float
    step_size: float

    @property
    def flat(self) -> Tensor:
        """All samples, (S·C, D)."""
        return self.samples.flatten(0, 1)


def hamiltonian(
    log_density: Density,
    start: Tensor,
    *,
    generator: torch.Generator,
    samples: int,
    warm_up: int,
    length: float = 1.5,
    step_size: float = 0.05,
    most: int = 60,
    target: float = 0.8,
    thin: int = 1,
) -> HamiltonianRun:
    """Sample C chains side by side.

    Args:
        log_density: of (C, D) states.
        start: (C, D).
        generator: of momenta, trajectory lengths and acceptance.
        samples: kept of every chain.
        warm_up: transitions in which the step size is adapted and nothing is kept.
        length: mean integration time of a trajectory; each is drawn within ± 20 %, against periodic orbits.
        step_size: at the beginning.
        most: leapfrog steps of a trajectory.
        target: acceptance that the step size is adapted to.
        thin: transitions a kept sample.

    Raises:
        ConfigError: nothing would be kept.
        NumericalError: the density is not finite at the start.
    """
    if min(samples, thin, most) < 1 or warm_up < 0:
        raise ConfigError(f"samples={samples}, thin={thin}, warm_up={warm_up}: no sample would be kept.")
    state = start.detach().clone()
    value, gradient = _evaluate(log_density, state)
    if not torch.isfinite(value).all():
        raise NumericalError("The log density is not finite at the starting points; start elsewhere.")
    adapt, step, kept, rates = _DualAveraging(step_size, target), step_size, [], []
    for number in range(warm_up + samples * thin):
        jitter = 0.8 + 0.4 * float(torch.rand((), generator=generator))
        steps = max(1, min(most, round(jitter * length / step)))
        proposal = _trajectory(log_density, state, gradient, step, steps, generator)
        change = proposal.value - value - proposal.kinetic_change
        probability = torch.nan_to_num(change, nan=-math.inf).clamp_max(0).exp()
        taken = torch.rand(len(state), generator=generator, dtype=state.dtype) < probability
        state = torch.where(taken[:, None], proposal.state, state)
        gradient = torch.where(taken[:, None], proposal.gradient, gradient)
        value = torch.where(taken, proposal.value, value)
        rate = probability.mean().item()
        if number < warm_up:
            step = adapt.update(rate)
        else:
            step = adapt.average if warm_up else step_size
            rates.append(rate)
            if (number - warm_up + 1) % thin == 0:
                kept.append(state.clone())
    return HamiltonianRun(torch.stack(kept), sum(rates) / len(rates), step)


@dataclass(frozen=True)
class _Proposal:
    state: Tensor
    value: Tensor
    gradient: Tensor
    kinetic_change: Tensor


def _trajectory(
    log_density: Density, state: Tensor, gradient: Tensor, step: float, steps: int, generator: torch.Generator
) -> _Proposal:
    momentum = torch.randn(state.shape, generator=generator, dtype=state.dtype)
    before = 0.5 * momentum.square().sum(1)
    value = torch.zeros_like(before)
    for _ in range(steps):
        momentum = momentum + 0.5 * step * gradient
        state = state + step * momentum
        value, gradient = _evaluate(log_density, state)
        momentum = momentum + 0.5 * step * gradient
    return _Proposal(state, value, gradient, 0.5 * momentum.square().sum(1) - before)


def _evaluate(log_density: Density, state: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        point = state.detach().requires_grad_(True)
        value = log_density(point)
        (gradient,) = torch.autograd.grad(value.sum(), point)
    return value.detach(), gradient


class _DualAveraging:
    """Nesterov's dual averaging of the logarithm of the step size; constants of Hoffman and Gelman."""

    def __init__(self, step: float, target: float) -> None:
        self.centre, self.target = math.log(10 * step), target
        self.error, self.logarithm, self.count = 0.0, 0.0, 0

    def update(self, rate: float) -> float:
        """Return the step size of the next transition."""
        self.count += 1
        share = 1 / (self.count + 10)
        self.error = (1 - share) * self.error + share * (self.target - rate)
        now = self.centre - math.sqrt(self.count) / 0.05 * self.error
        share = self.count**-0.75
        self.logarithm = share * now + (1 - share) * self.logarithm
        return math.exp(now)

    @property
    def average(self) -> float:
        """Step size after warm-up."""
        return math.exp(self.logarithm)
