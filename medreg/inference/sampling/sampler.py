"""What every sampler does: say where the energy is wanted, then move by the gradient found there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from medreg.errors import CompositionError, ConfigError, NumericalError
from medreg.inference.objective import EnergyFunction
from medreg.inference.sampling.noise import Noise


class Step(NamedTuple):
    """One transition of every chain.

    Attributes:
        sample: (S, ...) where the energy was evaluated before the move; a copy.
        energies: (S,) there.
    """

    sample: Tensor
    energies: Tensor


class Trajectory(ABC):
    """The moving part of a sampler: the state of S chains, their memory and their noise.

    A transition is: `propose`, the energy and its gradient there, `move`. What is proposed is also the sample, so
    that a sample and its energy belong together. Between `move` and `propose` a trajectory can be saved.

    Attributes:
        z: (S, ...) the chains; changed in place.
    """

    def __init__(self, start: Tensor, noise: Noise, variance: Tensor | None) -> None:
        self.z = start.detach().clone(memory_format=torch.contiguous_format)
        self.noise = noise
        self.scale = _scale(self.z, variance)
        self._pairs = len(self.scale)
        self._buffer = torch.empty_like(self.z)

    def grouped(self, field: Tensor) -> Tensor:
        """The view (chains, pairs, ...) of (S, ...), against which `scale` (pairs, ...) broadcasts."""
        return field.unflatten(0, (-1, self._pairs))

    @abstractmethod
    def propose(self) -> Tensor:
        """Where the energy is wanted, (S, ...); overwritten by later calls."""

    @abstractmethod
    def move(self, gradient: Tensor) -> None:
        """One transition by the gradient (S, ...) at the point that `propose` gave."""

    def reset(self, slot: int, value: Tensor) -> None:
        """Put the chain of a place in the batch somewhere (...), at rest."""
        self.z[slot] = value

    def step(self, energy: EnergyFunction) -> Step:
        """Propose, evaluate and move once."""
        point = self.propose()
        energies, gradient = energy.value_and_gradient(point)
        sample = point.clone()
        self.move(gradient)
        return Step(sample, energies)

    def state(self) -> dict[str, Any]:
        """All that the next transitions depend on, as tensors and plain values."""
        return {"z": self.z, "noise": self.noise.state()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave, bit by bit."""
        self.z.copy_(state["z"])
        self.noise.load_state(state["noise"])


class Sampler(ABC):
    """The settings of a sampler; `begin` makes it move."""

    @abstractmethod
    def begin(self, start: Tensor, noise: Noise, *, variance: Tensor | None = None) -> Trajectory:
        """Chains at their start.

        Args:
            start: (S, ...) one state for every chain, chain c of P pairs at c·P to (c + 1)·P; copied.
            noise: a stream for every chain.
            variance: preconditioner σ² (S, ...), (P, ...) or (1, ...), the variance that is expected of every
                unknown, such as that of a variational fit; None takes 1.

        Raises:
            CompositionError: the preconditioner does not fit.
            NumericalError: it is not positive and finite.
        """


def positive(name: str, value: float) -> float:
    """The value, if it is a finite number above 0.

    Raises:
        ConfigError: it is not.
    """
    if not 0 < value < float("inf"):
        raise ConfigError(f"{name} is {value}; it must be a number above 0.")
    return float(value)


def _scale(z: Tensor, variance: Tensor | None) -> Tensor:
    """Standard deviation σ of the preconditioner, (pairs, ...)."""
    if variance is None:
        return z.new_ones(1, *[1] * (z.ndim - 1))
    fits = variance.ndim == z.ndim and len(variance) > 0 and len(z) % len(variance) == 0
    if not fits or any(a not in (1, b) for a, b in zip(variance.shape[1:], z.shape[1:], strict=True)):
        raise CompositionError(
            f"The preconditioner has shape {tuple(variance.shape)} and the chains have {tuple(z.shape)}; give the "
            "variance of every unknown, once for all chains or once for every pair."
        )
    if not (torch.isfinite(variance).all() and (variance > 0).all()):
        raise NumericalError(
            "The preconditioner of the sampler has values that are zero, negative, infinite or NaN; take the "
            "variance of a variational fit that ended well, or no preconditioner."
        )
    return variance.detach().to(z).sqrt()
