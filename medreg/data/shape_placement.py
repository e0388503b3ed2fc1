"""Where the grid of a model lies in the file of a heart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medreg.data.shape_resampling import Coordinates


@dataclass(frozen=True, eq=False)
class Placement:
    """Where the grid of a model lies in a file: voxel k along axis i is at start[i] + step[i] k along order[i].

    Attributes:
        order: axis of the file along each axis of the model's grid.
        start: file voxel of the first voxel, along `order`.
        step: file voxels a voxel, negative where the axis runs the other way.
        shape: (X, Y, Z) of the file.
        file_affine: (4, 4) of the file.
        codes: of the structures in the file, in the order of their places.
        frames: number of frames of the file that were placed.
    """

    order: tuple[int, ...]
    start: tuple[float, ...]
    step: tuple[float, ...]
    shape: tuple[int, ...]
    file_affine: NDArray[np.float64]
    codes: tuple[int, ...]
    frames: int

    @property
    def affine(self) -> NDArray[np.float64]:
        """(4, 4) voxel of the model's grid → RAS mm of the file."""
        matrix = np.zeros((4, 4))
        matrix[3, 3] = 1
        for axis, (source, start, step) in enumerate(zip(self.order, self.start, self.step, strict=True)):
            matrix[source, axis], matrix[source, 3] = step, start
        return self.file_affine @ matrix

    @property
    def whole(self) -> bool:
        """Whether voxels of both grids are the same, so that nothing is interpolated."""
        return all(
            abs(step) == 1 and start == round(start)
            for start, step in zip(self.start, self.step, strict=True)
        )

    def into(self, size: Sequence[int]) -> Coordinates:
        """Return coordinates in the file, by axis of the model's grid."""
        return [
            start + step * np.arange(n) for start, step, n in zip(self.start, self.step, size, strict=True)
        ]

    def out_of(self) -> Coordinates:
        """Return coordinates in the model's grid, by its axes, of the layers of the file."""
        return [
            (np.arange(self.shape[source]) - start) / step
            for source, start, step in zip(self.order, self.start, self.step, strict=True)
        ]
