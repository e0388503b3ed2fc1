"""Which smoothness λ a conditional model is shown in training, and what λ multiplies in the loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from medreg.errors import ConfigError


@dataclass(frozen=True)
class UniformDraws:
    """λ_k ~ U(low, high), independent for every region; low = high trains at one fixed λ.

    Source: released train.py of CSAIN (no endpoints, no shared λ); HyperMorph draws an end point with
    probability 0.2.

    Attributes:
        low: smallest λ.
        high: largest λ.
        endpoint_rate: probability that a λ is `low` or `high` instead.
        shared_rate: probability that all regions of a pair share one λ, as they do in a uniform map, which
            independent draws never produce (ours; 0 = release).
    """

    low: float
    high: float
    endpoint_rate: float
    shared_rate: float

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high:
            raise ConfigError(f"task.draws must have 0 ≤ low ≤ high, not {self.low} and {self.high}.")
        for name in ("endpoint_rate", "shared_rate"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"task.draws.{name} is {getattr(self, name)}; it is a probability.")

    def draw(self, generator: torch.Generator, *, pairs: int, regions: int) -> Tensor:
        """λ of every pair and region, (pairs, regions) float32; a function of the generator's state."""
        shape = (pairs, regions)
        inner = torch.rand(shape, generator=generator)
        at_end = torch.rand(shape, generator=generator) < self.endpoint_rate
        end = (torch.rand(shape, generator=generator) < 0.5).float()
        unit = torch.where(at_end, end, inner)
        shared = torch.rand((pairs, 1), generator=generator) < self.shared_rate
        unit = torch.where(shared, unit[:, :1], unit)
        return self.low + (self.high - self.low) * unit

    def draw_field(self, generator: torch.Generator, *, pairs: int, shape: Sequence[int]) -> Tensor | None:
        """λ of every voxel, (pairs, 1, *shape); None where λ belongs to regions, as here."""
        return None


@dataclass(frozen=True)
class SmoothField(UniformDraws):
    """λ(x) that varies smoothly whatever the anatomy: numbers of a coarse grid, interpolated (ours).

    For training with any map, and where there are no labels. The coarse numbers are drawn as those of regions
    are, shared by all voxels with `shared_rate`; cubic interpolation (linear in 3-D) is clamped to the range.

    Attributes:
        cells: numbers along every axis of the coarse grid.
    """

    cells: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cells < 2:
            raise ConfigError(f"task.draws.cells is {self.cells}; a field needs 2 numbers an axis at least.")

    def draw_field(self, generator: torch.Generator, *, pairs: int, shape: Sequence[int]) -> Tensor:
        """λ of every voxel, (pairs, 1, *shape)."""
        ndim = len(shape)
        numbers = self.draw(generator, pairs=pairs, regions=self.cells**ndim)
        coarse = numbers.view(pairs, 1, *[self.cells] * ndim)
        mode = "bicubic" if ndim == 2 else "trilinear"
        field = torch.nn.functional.interpolate(coarse, size=tuple(shape), mode=mode, align_corners=True)
        return field.clamp(self.low, self.high)


def generator_of(*numbers: int) -> torch.Generator:
    """A generator that depends on these numbers only, such as (seed, rank, epoch, batch): safe to resume."""
    word = int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])
    return torch.Generator().manual_seed(word)


@dataclass(frozen=True)
class Objective(ABC):
    """Factors of similarity and regulariser in a loss at λ.

    Attributes:
        scale: s, weight of the regulariser at λ = 1.
        power: p of λ^p.
    """

    scale: float
    power: float

    @abstractmethod
    def similarity_factor(self, weight: Tensor) -> Tensor:
        """(B,) factor of the similarity from λ (B,) or (B, 1, *S)."""

    def regulariser_weight(self, weight: Tensor) -> Tensor:
        """s·λ^p, in the shape of λ."""
        return self.scale * weight.pow(self.power)


class Additive(Objective):
    """D + s·λ^p·R: power 2 in CSAIN's release (Λ multiplies the derivatives before they are squared), 1 in cLapIRN."""

    def similarity_factor(self, weight: Tensor) -> Tensor:
        """One."""
        return torch.ones_like(weight.flatten(1)[:, 0] if weight.ndim > 1 else weight)


class Convex(Objective):
    """(1 − λ)·D + s·λ^p·R, HyperMorph's loss with p = 1; λ of a map is its mean in the first factor."""

    def similarity_factor(self, weight: Tensor) -> Tensor:
        """1 − λ."""
        return 1.0 - (weight.flatten(1).mean(1) if weight.ndim > 1 else weight)
