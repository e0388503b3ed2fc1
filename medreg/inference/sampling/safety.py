"""When a chain is stopped: folded, not finite, or running away."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from medreg.errors import ConfigError
from medreg.metrics.deformation import determinant, folding_percent


@dataclass(frozen=True)
class Stop:
    """A chain that was stopped.

    Attributes:
        slot: its place in the batch.
        transition: the transition after which it was stopped; what was sampled before is kept.
        reason: a sentence.
    """

    slot: int
    transition: int
    reason: str


@dataclass(frozen=True)
class Safety:
    """Limits of a chain. A state or energy that is not finite always stops it.

    Where the chains of a pair have something in common that adapts, give `energy_rise` too: it finds a chain that
    diverges long before its numbers overflow.

    Attributes:
        fold_percent: largest share of voxels, per cent, where the Jacobian determinant is not positive, in a kept
            sample; None does not look.
        energy_rise: how far the energy may rise above the lowest that the chain has seen, nats per unknown (at
            equilibrium of a Gaussian posterior it is ½); None does not look.
        every: after the burn-in, look for folds at every so many transitions too, which costs a transformation
            each; 0 looks at kept samples alone.

    Raises:
        ConfigError: a limit that makes no sense.
    """

    fold_percent: float | None = None
    energy_rise: float | None = None
    every: int = 0

    def __post_init__(self) -> None:
        if self.fold_percent is not None and not 0 <= self.fold_percent <= 100:
            raise ConfigError(f"fold_percent is {self.fold_percent}; it must be between 0 and 100.")
        if self.energy_rise is not None and not self.energy_rise > 0:
            raise ConfigError(f"energy_rise is {self.energy_rise}; it must be above 0 (nats per unknown).")
        if self.every < 0:
            raise ConfigError(f"every of the safety stop is {self.every}; it must be 0 or more transitions.")


class Watch:
    """The chains that still run, and why the others do not.

    Args:
        safety: the limits.
        slots: number S of chains of all pairs.
        unknowns: number of unknowns of each.

    Attributes:
        alive: (S,) bool on the CPU.
        stops: in the order in which they happened.
    """

    def __init__(self, safety: Safety, slots: int, unknowns: int) -> None:
        self.safety, self.unknowns = safety, unknowns
        self.alive = torch.ones(slots, dtype=torch.bool)
        self.stops: list[Stop] = []
        self._lowest = torch.full((slots,), math.inf, dtype=torch.float64)

    def look_at_state(self, z: Tensor, transition: int) -> None:
        """Stop chains whose state (S, ...) is not finite."""
        norm = torch.linalg.vector_norm(z.flatten(1), dim=1)
        self._stop(~torch.isfinite(norm), transition, lambda slot: "its state has values that are not finite")

    def look_at_energies(self, energies: Tensor, transition: int) -> None:
        """Stop chains whose energy (S,) is not finite, or has risen too far."""
        values = energies.detach().cpu().double()
        self._stop(~torch.isfinite(values), transition, lambda slot: f"its energy became {values[slot]:g}")
        self._lowest = torch.fmin(self._lowest, values)
        if self.safety.energy_rise is not None:
            limit = self._lowest + self.safety.energy_rise * self.unknowns
            self._stop(
                values > limit,
                transition,
                lambda slot: (
                    f"its energy rose from {self._lowest[slot]:.6g} to {values[slot]:.6g}, by more than "
                    f"energy_rise={self.safety.energy_rise:g} nats for each of {self.unknowns} unknowns"
                ),
            )

    def look_at_folds(self, displacement: Tensor, transition: int) -> None:
        """Stop chains whose displacement (S, D, *S), voxels, folds in too many voxels."""
        limit = self.safety.fold_percent
        if limit is None:
            return
        share = folding_percent(determinant(displacement)).cpu()
        self._stop(
            ~(share <= limit),
            transition,
            lambda slot: f"{share[slot]:.3g} % of its voxels fold, more than fold_percent={limit:g}",
        )

    def _stop(self, wrong: Tensor, transition: int, reason: Any) -> None:
        fallen = self.alive & wrong.cpu()
        if fallen.any():
            for slot in fallen.nonzero().flatten().tolist():
                self.stops.append(Stop(slot, transition, reason(slot)))
            self.alive = self.alive & ~fallen

    def state(self) -> dict[str, Any]:
        """Everything, as tensors and plain values."""
        return {
            "alive": self.alive,
            "lowest": self._lowest,
            "stops": [asdict(stop) for stop in self.stops],
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.alive, self._lowest = state["alive"].clone(), state["lowest"].clone()
        self.stops = [Stop(**stop) for stop in state["stops"]]
