"""Spikes in k-space: stripes across the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medreg.data.artefacts.base import Artefact, least_and_most
from medreg.data.artefacts.library import torchio


@dataclass(frozen=True)
class Spike(Artefact):
    """Single points of k-space get a wrong, high value.

    Attributes:
        spikes: number of them.
        intensity: least and most height, in maxima of k-space.
    """

    spikes: int
    intensity: Sequence[float]

    def __post_init__(self) -> None:
        object.__setattr__(self, "intensity", least_and_most("spike.intensity", self.intensity))

    def draw(self, shape: Sequence[int], *, generator: np.random.Generator, strength: float) -> Any:
        """Return `torchio.Spike` with its places."""
        height = strength * generator.uniform(self.intensity[0], self.intensity[1])
        return torchio().transforms.Spike(
            spikes_positions=generator.uniform(0, 1, (self.spikes, 3)), intensity=height
        )
