"""What every prior promises to a posterior: a density of a field by way of the energy of a regulariser."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from medreg.errors import ConfigError
from medreg.losses.reduction import precise
from medreg.losses.regularisation.base import Regulariser
from medreg.losses.tuning import Rate, Tuned

if TYPE_CHECKING:
    from medreg.geometry.transformation import Deformation

_TINY = 1e-12  # energy below which its logarithm stays where it is: the identity has none at all


class Prior(nn.Module, ABC):
    """−ln p of a deformation, one value a sample, a function of its energy y = Σ_x density(x).

    The energy is the sum over voxels of the density of a regulariser, without its weight: ‖Dv‖² for `Diffusion`.
    A prior may have numbers of its own for each pair (a weight, a location), shared by the chains of the pair; they
    stand beside the field and are stepped by `adapt`, after each evaluation.

    Args:
        regulariser: whose density is summed.
        rate: of Adam for the numbers of the prior, where it has any.

    Attributes:
        pairs: P of the last `prepare`; 0 before it.
        unknowns: ν, the number of scalar unknowns of a field.
        energy: (S,) y of the last evaluation, without a gradient.
    """

    def __init__(self, *, regulariser: Regulariser, rate: Rate | None = None) -> None:
        super().__init__()
        self.regulariser = regulariser
        self.rate = Rate(0.0) if rate is None else rate
        self.pairs = self.unknowns = 0
        self.energy: Tensor | None = None
        self._numbers: Tuned | None = None

    def prepare(self, pairs: int, unknowns: int, like: Tensor) -> None:
        """Give the numbers of P pairs their initial values, forgetting those of any earlier ones.

        Args:
            pairs: P.
            unknowns: ν, scalar unknowns of one field: control points times components for a spline.
            like: any tensor of the device to work on.
        """
        self.pairs, self.unknowns, self.energy = pairs, unknowns, None
        values = torch.tensor(self.initial(), dtype=precise(like.device), device=like.device)
        self._numbers = Tuned(self.rate, values.expand(pairs, -1))

    def forward(self, deformation: Deformation, *, spacing_mm: Tensor | None = None) -> Tensor:
        """−ln p of every sample.

        Args:
            deformation: fields (S, D, *grid), voxels.
            spacing_mm: (S, D) or (D,) of their grid, mm.

        Returns:
            (S,), float64 where the device has it.
        """
        energy = self.energies(deformation, spacing_mm=spacing_mm)
        self.energy = energy.detach()
        return self.negative_log(energy, self._of_samples(len(energy)))

    def energies(self, deformation: Deformation, *, spacing_mm: Tensor | None = None) -> Tensor:
        """Y of every sample, (S,)."""
        field: Tensor = getattr(deformation, self.regulariser.on)
        mean = self.regulariser.evaluate(deformation, spacing_mm=spacing_mm, weight=1.0)
        return mean.to(precise(field.device)) * math.prod(field.shape[2:])

    def adapt(self) -> None:
        """Step the numbers of each pair, downhill the mean over its chains at the last evaluation."""
        if self.energy is None or not self.tuned.values.shape[1] or not self.rate.learning_rate:
            return
        with torch.enable_grad():
            numbers = self.tuned.values.detach().requires_grad_(True)
            chains = len(self.energy) // self.pairs
            values = self.negative_log(self.energy, numbers.repeat(chains, 1))
            (gradient,) = torch.autograd.grad(values.sum() / chains, numbers)
        self.tuned.step(gradient)

    @abstractmethod
    def initial(self) -> list[float]:
        """Return the numbers of a pair to begin with, of length n; [] if there are none."""

    @abstractmethod
    def negative_log(self, energy: Tensor, numbers: Tensor) -> Tensor:
        """Return −ln p (S,) of energies y (S,), under numbers (S, n) and with the priors of these."""

    @property
    def tuned(self) -> Tuned:
        """The numbers of every pair.

        Raises:
            ConfigError: there are none yet.
        """
        if self._numbers is None:
            raise ConfigError("A prior was used before prepare(pairs, unknowns, like); call that first.")
        return self._numbers

    def state(self) -> dict[str, Any]:
        """Return everything needed to go on bit by bit as if nothing had happened."""
        return {"numbers": self.tuned.state(), "energy": self.energy}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a state; `prepare` for the same pairs comes before."""
        self.tuned.load_state(state["numbers"])
        self.energy = state["energy"]

    def _of_samples(self, samples: int) -> Tensor:
        values = self.tuned.values
        return values.repeat(samples // self.pairs, 1)


def log_energy(energy: Tensor) -> Tensor:
    """Return ln y; constant below 1e-12, so that the identity has a finite one."""
    return energy.clamp_min(_TINY).log()


def require_positive(name: str, value: float) -> float:
    """Return a number above 0.

    Raises:
        ConfigError: it is not.
    """
    if not 0 < value < float("inf"):
        raise ConfigError(f"{name} is {value}; it must be a finite number above 0.")
    return float(value)
