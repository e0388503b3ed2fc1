"""Numbers of a density that are fitted beside the field: a few a pair, stepped by Adam with a decaying rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from medreg.errors import CheckpointError, ConfigError

_EPSILON = 1e-8  # Kingma & Ba, ICLR 2015


@dataclass(frozen=True)
class Rate:
    """Step length of Adam, lr/(1 + decay·t) after t steps.

    Attributes:
        learning_rate: lr, units of the numbers that it steps.
        decay: a step.
        betas: decay of the two moments.
    """

    learning_rate: float
    decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)

    def __post_init__(self) -> None:
        """Refuse what cannot be stepped with."""
        if not (0 <= self.learning_rate < float("inf") and 0 <= self.decay < float("inf")):
            raise ConfigError(
                f"The rate of a density has learning_rate {self.learning_rate} and decay {self.decay}; both are "
                "finite numbers, 0 or more."
            )
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(
                f"The rate of a density has betas {list(self.betas)}; give two numbers in [0, 1)."
            )


class Tuned:
    """Numbers (P, n) of P pairs, of which no pair sees another.

    Values are replaced, never written into, so that a graph that holds them stays valid.

    Attributes:
        values: (P, n), float64 where the device has it.
        steps: made so far.
    """

    def __init__(self, rate: Rate, values: Tensor) -> None:
        self.rate = rate
        self.values = values.detach().clone()
        self._mean, self._square, self.steps = torch.zeros_like(values), torch.zeros_like(values), 0

    def step(self, gradient: Tensor) -> None:
        """Go one step of Adam down a gradient (P, n); pairs whose gradient is not finite stay where they are."""
        one, two = self.rate.betas
        gradient = torch.where(gradient.isfinite().all(1, keepdim=True), gradient.to(self.values), 0.0)
        rate = self.rate.learning_rate / (1 + self.rate.decay * self.steps)
        self.steps += 1
        self._mean = one * self._mean + (1 - one) * gradient
        self._square = two * self._square + (1 - two) * gradient.square()
        size = (self._square / (1 - two**self.steps)).sqrt() + _EPSILON
        self.values = self.values - rate / (1 - one**self.steps) * self._mean / size

    def state(self) -> dict[str, Any]:
        """Return all that the next steps depend on."""
        return {"values": self.values, "mean": self._mean, "square": self._square, "steps": self.steps}

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from a state.

        Raises:
            CheckpointError: it is of other pairs or another density.
        """
        if state["values"].shape != self.values.shape:
            raise CheckpointError(
                f"The saved numbers of a density have shape {tuple(state['values'].shape)} and this one takes "
                f"{tuple(self.values.shape)}; resume with the likelihood, the prior and the pairs of the first run."
            )
        self.values, self._mean, self._square = (
            state[name].to(self.values) for name in ("values", "mean", "square")
        )
        self.steps = int(state["steps"])
