"""Where hearts lie: on the grid of the model by itself, or where the heart of a user's file lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medreg.data.shape_grid import Placement, ShapeGrid
from medreg.errors import require_choice
from medreg.generating.enclosed import check_enclosed
from medreg.generating.heart import Heart, Place
from medreg.generating.opened import OpenedModel
from medreg.generating.source import ROLE, check_codes, check_labels
from medreg.io.image import Volume
from medreg.io.on_grid import called

GRIDS = ("file", "model")


@dataclass(frozen=True, eq=False)
class ModelPlace:
    """The grid of a model, by itself or where a heart of a file lies.

    Attributes:
        grid: of the model.
        placed: (4, 4) voxel → RAS mm; None: its own, the middle at the origin.
    """

    grid: ShapeGrid
    placed: NDArray[np.float64] | None = None

    @property
    def affine(self) -> NDArray[np.float64]:
        """(4, 4) voxel → RAS mm."""
        return self.grid.affine if self.placed is None else self.placed

    @property
    def image(self) -> Volume:
        """An image of these voxels."""
        spacing = tuple(float(size) for size in np.linalg.norm(self.affine[:3, :3], axis=0))
        empty = np.broadcast_to(np.uint8(0), tuple(self.grid.size))
        return Volume(empty, self.affine, spacing)

    def written(self, shape: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The shape as it is."""
        return shape

    def beyond(self, shape: NDArray[np.uint8]) -> float:
        """Nothing."""
        return 0.0


@dataclass(frozen=True, eq=False)
class FilePlace:
    """The voxels of a user's file.

    Attributes:
        grid: of the model.
        placement: where that lies in the file.
        image: the file.
    """

    grid: ShapeGrid
    placement: Placement
    image: Volume

    @property
    def affine(self) -> NDArray[np.float64]:
        """(4, 4) voxel of the model → RAS mm."""
        return self.placement.affine

    def written(self, shape: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(T, X, Y, Z) places on the voxels of the file."""
        codes = self.grid.back(shape, self.placement)
        places = np.zeros(codes.shape, np.uint8)
        for place, code in enumerate(self.placement.codes, start=1):
            places[codes == code] = place
        return np.ascontiguousarray(np.moveaxis(places, -1, 0))

    def beyond(self, shape: NDArray[np.uint8]) -> float:
        """The share of a heart that lies outside the field of view of the file."""
        inside = np.ones(shape.shape[1:], bool)
        at = self.placement.into(self.grid.size)
        for axis, (source, places) in enumerate(zip(self.placement.order, at, strict=True)):
            within = (places >= -0.5) & (places <= self.placement.shape[source] - 0.5)
            inside &= within.reshape([-1 if other == axis else 1 for other in range(3)])
        heart = shape > 0
        return float((heart & ~inside).sum() / max(heart.sum(), 1))


@dataclass(frozen=True, eq=False)
class GivenPlace:
    """A user's heart itself, which nothing is interpolated of.

    Attributes:
        affine: (4, 4) voxel of the model → RAS mm.
        image: the file.
        places: (T, X, Y, Z) places of structures in the file.
    """

    affine: NDArray[np.float64]
    image: Volume
    places: NDArray[np.uint8]

    def written(self, shape: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The voxels of the file."""
        return self.places

    def beyond(self, shape: NDArray[np.uint8]) -> float:
        """Nothing."""
        return 0.0


@dataclass(frozen=True, eq=False)
class PlacedHeart:
    """A user's heart on the grid of the model, and where results are to lie.

    Attributes:
        shape: (T, X, Y, Z) uint8 on the grid of the model.
        place: of the results.
        labels: structure → code of the file.
        notes: what was odd about it.
        volume: (X, Y, Z, T) codes of the file.
    """

    shape: NDArray[np.uint8]
    place: Place
    labels: Mapping[str, int]
    notes: Sequence[str]
    volume: Volume

    @property
    def files(self) -> list[Path]:
        """Its file, if it has one."""
        return [] if self.volume.path is None else [self.volume.path]

    def heart(self, name: str, told: Mapping[str, str | float | None], phases: str) -> Heart:
        """The heart itself, measured on the voxels that results are written on."""
        place = self.place
        if isinstance(place, FilePlace):
            places = np.zeros(self.volume.array.shape, np.uint8)
            for number, code in enumerate(self.labels.values(), start=1):
                places[self.volume.array == code] = number
            place = GivenPlace(place.affine, self.volume, np.ascontiguousarray(np.moveaxis(places, -1, 0)))
        return Heart(name, name, self.shape, place, self.labels, told, phases)


def place_heart(
    run: OpenedModel, volume: Volume, labels: Mapping[str, int] | None, *, grid: str
) -> PlacedHeart:
    """Bring a user's heart to the grid of the model.

    Args:
        run: of the model.
        volume: (X, Y, Z, T) codes.
        labels: structure → code of the file; None: those of the run.
        grid: on which results are written, "file" or "model".

    Raises:
        ConfigError: labels that are not those of the run's structures, or another grid.
        DataError: codes that nobody explained, a structure that is missing, swapped codes, a heart that does not fit.
    """
    require_choice("--grid", grid, GRIDS)
    codes = run.labels if labels is None else check_labels(labels, run.labels)
    check_codes(volume, codes, stated=labels is not None)
    found = run.grid.to_grid(volume, codes)
    name = called(volume, ROLE)
    check_enclosed(found.shape[0], name, codes)
    place: Place = FilePlace(run.grid, found.placement, volume)
    if grid == "model":
        place = ModelPlace(run.grid, found.placement.affine)
    notes = [*volume.notes, *(sentence for _, sentence in found.notes)]
    return PlacedHeart(found.shape, place, codes, [f"{name}: {note}" for note in notes], volume)
