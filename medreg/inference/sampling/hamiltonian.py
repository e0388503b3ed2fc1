"""Stochastic-gradient Hamiltonian Monte Carlo: Langevin dynamics with momentum."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from medreg.inference.sampling.noise import Noise
from medreg.inference.sampling.sampler import Sampler, Trajectory, positive


class SGHMC(Sampler):
    """Underdamped Langevin dynamics with mass m/σ² for every unknown, in the splitting BAOAB.

    With the normalised momentum r (unit variance), s = σ/√m and c = exp(−γ h), a transition after ∇U(z) is

        r ← r − h s ∇U(z);   z ← z + ½h s r;   r ← c r + √(1 − c²) ξ;   z ← z + ½h s r

    (the last half kick of one step and the first of the next are one). On a Gaussian of curvature λ, with
    κ = h² s² λ < 4, the stationary law of z is **exact**, N(mean, 1/λ), for every step size and friction: only
    the autocorrelation ρ depends on them, with ρ₁ = 1 − (1 + c) κ/4. The motion is underdamped and oscillates where
    (1 + c)²(1 − κ/2)² < 4c: ρ_k = c^{k/2} [cos kω + (1 − c)/(2√c sin ω) sin kω] with
    cos ω = (1 + c)(1 − κ/2)/(2√c). Derived in docs/explanation/sampling.md.

    Args:
        step_size: h; h²/(2m) compares with τ of SGLD.
        friction: γ, per unit of time; large forgets the momentum at once, small lets it oscillate.
        mass: m, without unit where σ² is the posterior variance.

    Raises:
        ConfigError: a value that is not above 0.

    References:
        Chen, Fox & Guestrin, Stochastic Gradient Hamiltonian Monte Carlo, ICML 2014; the discretisation:
        Leimkuhler & Matthews, Rational construction of stochastic numerical methods, AMRX 2013.
    """

    def __init__(self, step_size: float, *, friction: float, mass: float = 1.0) -> None:
        self.step_size = positive("step_size of the sampler", step_size)
        self.friction = positive("friction of the sampler", friction)
        self.mass = positive("mass of the sampler", mass)

    def begin(self, start: Tensor, noise: Noise, *, variance: Tensor | None = None) -> Trajectory:
        """Chains at their start with a momentum drawn for each, see `Sampler.begin`."""
        return Hamiltonian(start, noise, variance, self)


class Hamiltonian(Trajectory):
    """Chains with momentum.

    Attributes:
        momentum: (S, ...), normalised to unit variance.
    """

    def __init__(self, start: Tensor, noise: Noise, variance: Tensor | None, settings: SGHMC) -> None:
        super().__init__(start, noise, variance)
        self.step_size = settings.step_size
        self.kept = math.exp(-settings.friction * settings.step_size)
        self.scale = self.scale / math.sqrt(settings.mass)
        self.momentum = noise.fill(torch.empty_like(self.z))

    def propose(self) -> Tensor:
        """The state itself."""
        return self.z

    def move(self, gradient: Tensor) -> None:
        """Kick, half a drift, friction with noise, half a drift."""
        z, momentum = self.grouped(self.z), self.grouped(self.momentum)
        momentum.addcmul_(self.grouped(gradient), self.scale, value=-self.step_size)
        z.addcmul_(momentum, self.scale, value=self.step_size / 2)
        self.noise.fill(self._buffer)
        self.momentum.mul_(self.kept).add_(self._buffer, alpha=math.sqrt(1 - self.kept**2))
        z.addcmul_(momentum, self.scale, value=self.step_size / 2)

    def reset(self, slot: int, value: Tensor) -> None:
        """Put the chain of a place in the batch somewhere (...), at rest."""
        super().reset(slot, value)
        self.momentum[slot] = 0

    def state(self) -> dict[str, Any]:
        """State, momentum and noise."""
        return {**super().state(), "momentum": self.momentum}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave, bit by bit."""
        super().load_state(state)
        self.momentum.copy_(state["momentum"])
