"""One heart that was made, on the grid of the model and on that of its file, and what is measured of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from medreg.io.image import Volume

Codes = NDArray[Any]


class Place(Protocol):
    """Where hearts lie in the world, and the voxels that they are written on."""

    @property
    def affine(self) -> NDArray[np.float64]:
        """(4, 4) voxel of the model → RAS mm."""

    @property
    def image(self) -> Volume:
        """What is written has its voxels and header."""

    def written(self, shape: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return (T, X, Y, Z) places of structures on the voxels that are written, of a shape of the model."""

    def beyond(self, shape: NDArray[np.uint8]) -> float:
        """Return the share of a heart that lies beyond the voxels that are written, 0 to 1."""


@dataclass(frozen=True, eq=False)
class Heart:
    """A heart.

    Attributes:
        name: of its files and rows.
        source: `generated`, `completed`, `completed_sample`, `reconstructed`, `aged`, or `given` of the user's own.
        shape: (T, X, Y, Z) uint8 on the grid of the model, places of structures from 1.
        place: where it lies.
        labels: structure → code, as it is written.
        told: what the model was told of the person, by condition; None is unknown.
        phases: "cycle", or "edes" of two frames, ED and ES.
    """

    name: str
    source: str
    shape: NDArray[np.uint8]
    place: Place
    labels: Mapping[str, int]
    told: Mapping[str, str | float | None]
    phases: str

    @cached_property
    def written(self) -> NDArray[np.uint8]:
        """(T, X, Y, Z) places of structures on the voxels that are written."""
        return self.place.written(self.shape)

    @property
    def array(self) -> Codes:
        """(X, Y, Z, T) codes, as the file has them."""
        codes = np.array([0, *self.labels.values()])
        codes = codes.astype(np.uint8 if codes.max() < 256 else np.int32)
        return np.moveaxis(codes[self.written], 0, -1)

    @property
    def affine(self) -> NDArray[np.float64]:
        """(4, 4) voxel of `array` → RAS mm."""
        return self.place.image.affine

    @property
    def spacing_mm(self) -> tuple[float, ...]:
        """Size of the voxels of `array`."""
        return self.place.image.spacing_mm

    @property
    def model_spacing_mm(self) -> tuple[float, ...]:
        """Size of the voxels of `shape`."""
        return tuple(float(v) for v in np.linalg.norm(self.place.affine[:3, :3], axis=0))

    @cached_property
    def volumes_ml(self) -> dict[str, NDArray[np.float64]]:
        """Structure → (T,) mL of the written voxels."""
        voxel_ml = float(np.prod(self.spacing_mm)) / 1000
        flat = self.written.reshape(len(self.written), -1)
        counts = [(flat == place).sum(1) for place in range(1, len(self.labels) + 1)]
        return {name: count * voxel_ml for name, count in zip(self.labels, counts, strict=True)}
