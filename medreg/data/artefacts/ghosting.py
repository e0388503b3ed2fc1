"""Ghosts: copies of the body along the phase-encoding axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medreg.data.artefacts.base import Artefact, least_and_most
from medreg.data.artefacts.library import torchio


@dataclass(frozen=True)
class Ghosting(Artefact):
    """Every n-th plane of k-space but the central one is weakened, which makes n ghosts.

    Attributes:
        ghosts: least and most number of ghosts.
        axes: axes to choose from, 0 across slices, 1 rows, 2 columns; a single slice has none across.
        intensity: least and most weakening, 1 takes the planes away.
    """

    ghosts: Sequence[float]
    axes: Sequence[int]
    intensity: Sequence[float]

    def __post_init__(self) -> None:
        object.__setattr__(self, "ghosts", least_and_most("ghosting.ghosts", self.ghosts))
        object.__setattr__(self, "axes", tuple(int(value) for value in self.axes))
        object.__setattr__(self, "intensity", least_and_most("ghosting.intensity", self.intensity))

    def draw(self, shape: Sequence[int], *, generator: np.random.Generator, strength: float) -> Any:
        """Return `torchio.Ghosting` with its number, axis and strength."""
        axes = [axis for axis in self.axes if shape[axis] > 1]
        count = int(generator.integers(int(self.ghosts[0]), int(self.ghosts[1]) + 1))
        axis = axes[int(generator.integers(len(axes)))]
        weakened = strength * generator.uniform(self.intensity[0], self.intensity[1])
        return torchio().transforms.Ghosting(num_ghosts=count, axis=axis, intensity=weakened, restore=None)
