"""What those who listen to chains are told of a sample."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any, Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class Draw:
    """One sample of every chain. Tensors are overwritten later: who keeps something copies it.

    Attributes:
        transition: number of the transition that led here, burn-in included.
        field: (S, ...) what is sampled, usually displacements (S, D, *S) in voxels; chain c of P pairs at
            c·P to (c + 1)·P.
        alive: (S,) bool on the CPU; false for chains that were stopped, whose slots mean nothing any more.
        energies: (S,) energy of the sample.
        scalars: further numbers (S,) by name.
    """

    transition: int
    field: Tensor
    alive: Tensor
    energies: Tensor
    scalars: Mapping[str, Tensor] = dataclass_field(default_factory=dict)

    @classmethod
    def independent(cls, field: Tensor, number: int) -> Draw:
        """Return a sample (S, ...) that a model has drawn without chains: it has a number and no energy."""
        alive = torch.ones(len(field), dtype=torch.bool)
        return cls(number, field, alive, torch.full((len(field),), math.nan, dtype=torch.float64))

    def slots(self) -> Iterator[tuple[int, Tensor]]:
        """Index and field (...) of every chain that still runs."""
        for slot, alive in enumerate(self.alive.tolist()):
            if alive:
                yield slot, self.field[slot]


class Listener(Protocol):
    """Who is told of every sample that is kept, and can stop and go on with the chains."""

    def __call__(self, draw: Draw) -> None:
        """Take a sample in."""

    def state(self) -> dict[str, Any]:
        """All that was gathered, as tensors and plain values."""

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""


@dataclass(frozen=True)
class SamplingProgress:
    """What a progress callback is told after each transition.

    Attributes:
        transition: transitions made, burn-in included.
        total: all that will be made.
        burn_in: those of them that are not sampled.
        energies: (S,) energy of every chain.
        alive: (S,) bool, chains that still run.
    """

    transition: int
    total: int
    burn_in: int
    energies: Tensor
    alive: Tensor
