"""Motion between the lines of k-space (Shaw et al., MIDL 2019, as TorchIO 1 implements it)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medreg.data.artefacts.base import Artefact
from medreg.data.artefacts.library import torchio
from medreg.errors import require_choice

JITTER = 0.3  # of the interval between two movements; a constant of TorchIO


@dataclass(frozen=True)
class Motion(Artefact):
    """The body moves rigidly a few times while k-space is filled.

    A single slice moves in its plane only.

    Attributes:
        degrees: largest rotation about each axis, degrees.
        translation: largest shift along each axis, mm or voxels.
        movements: number of movements.
        unit: "mm", or "voxels" as the released generator, whose arrays carry no voxel size; rotations then are of an
            image of cubic voxels.
    """

    degrees: float
    translation: float
    movements: int
    unit: str

    def __post_init__(self) -> None:
        require_choice("data.corruption.kinds.motion.unit", self.unit, ("mm", "voxels"))

    def voxel_size(self, spacing_mm: Sequence[float]) -> Sequence[float]:
        """Return the true one, or cubes for shifts in voxels."""
        return spacing_mm if self.unit == "mm" else (1.0, 1.0, 1.0)

    def draw(self, shape: Sequence[int], *, generator: np.random.Generator, strength: float) -> Any:
        """Return `torchio.Motion` with its movements and their times."""
        angles = strength * generator.uniform(-self.degrees, self.degrees, (self.movements, 3))
        shifts = strength * generator.uniform(-self.translation, self.translation, (self.movements, 3))
        step = 1 / (self.movements + 1)
        times = step * (np.arange(1, self.movements + 1) + generator.uniform(-JITTER, JITTER, self.movements))
        if shape[0] == 1:
            angles[:, 1:], shifts[:, 0] = 0, 0
        return torchio().transforms.Motion(
            degrees=angles, translation=shifts, times=times, image_interpolation="linear"
        )
