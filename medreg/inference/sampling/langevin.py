"""Preconditioned stochastic-gradient Langevin dynamics, as published and as released."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from medreg.errors import require_choice
from medreg.inference.sampling.noise import Noise
from medreg.inference.sampling.sampler import Sampler, Trajectory, positive

Update = Literal["sgld", "released"]


class SGLD(Sampler):
    """Langevin dynamics with a diagonal preconditioner σ².

        z ← z − τ σ² ∇U(z) + √(2τ) σ ξ,   ξ ~ N(0, I)

    On a Gaussian of curvature λ, with a = τσ²λ < 2, the stationary law has the right mean, the variance
    (1/λ)·2/(2 − a) and the lag-1 autocorrelation 1 − a: too wide by a/2, which vanishes with τ.

    `update="released"` is what the code released with the paper does: the noise is added to a copy x of the state,
    the gradient at x moves the state, and x is the sample:

        x = z + √(2τ) σ ξ,   z ← z − τ σ² ∇U(x)

    No noise is carried on, so this is no Langevin dynamics: the samples have the variance 4τσ²/(2 − a) and the
    lag-1 autocorrelation −a/2. They follow the preconditioner instead of the posterior, and have its variance
    only where a = 2/5 (docs/explanation/sampling.md). For comparisons with published pictures.

    Args:
        step_size: τ, without unit where σ² is the posterior variance.
        update: "sgld" or "released".

    Raises:
        ConfigError: a step size that is not above 0, an unknown update.

    References:
        Welling & Teh, ICML 2011; Li et al., Preconditioned SGLD, AAAI 2016; Grzech et al., MELBA 2021:016.
    """

    def __init__(self, step_size: float, *, update: Update = "sgld") -> None:
        self.step_size = positive("step_size of the sampler", step_size)
        require_choice("update of the sampler", update, UPDATES)
        self.update = update

    def begin(self, start: Tensor, noise: Noise, *, variance: Tensor | None = None) -> Trajectory:
        """Chains at their start, see `Sampler.begin`."""
        return UPDATES[self.update](start, noise, variance, self.step_size)


class Langevin(Trajectory):
    """Chains of the published update."""

    def __init__(self, start: Tensor, noise: Noise, variance: Tensor | None, step_size: float) -> None:
        super().__init__(start, noise, variance)
        self.step_size = step_size

    def propose(self) -> Tensor:
        """The state itself."""
        return self.z

    def move(self, gradient: Tensor) -> None:
        """Z += σ (√(2τ) ξ − τ σ ∇U)."""
        push = self.grouped(self.noise.fill(self._buffer)).mul_(math.sqrt(2 * self.step_size))
        push.addcmul_(self.grouped(gradient), self.scale, value=-self.step_size)
        self.grouped(self.z).addcmul_(push, self.scale)


class Released(Langevin):
    """Chains of the released update."""

    def propose(self) -> Tensor:
        """A copy of the state with noise."""
        push = self.grouped(self.noise.fill(self._buffer))
        push.mul_(self.scale).mul_(math.sqrt(2 * self.step_size)).add_(self.grouped(self.z))
        return self._buffer

    def move(self, gradient: Tensor) -> None:
        """Z −= τ σ² ∇U(x)."""
        drift = torch.mul(self.grouped(gradient), self.scale, out=self.grouped(self._buffer))
        self.grouped(self.z).addcmul_(drift, self.scale, value=-self.step_size)


UPDATES: dict[str, type[Langevin]] = {"sgld": Langevin, "released": Released}
