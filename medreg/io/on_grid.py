"""Whether what belongs to an image, such as a label map, lies on it voxel by voxel."""

from __future__ import annotations

import itertools

import numpy as np

from medreg.errors import DataError
from medreg.io.image import Volume
from medreg.io.stack import stack_shape

SAME_PLACE = 0.1  # voxels; what has a corner further from that of its image lies on another grid


def called(volume: Volume, role: str) -> str:
    """Return how a volume is called in messages: its file, or its role."""
    return str(volume.path) if volume.path is not None else f"the {role}"


def gap(volume: Volume, image: Volume) -> float:
    """Return how far apart two grids of one shape lie: the largest difference of a corner, in voxels of the image."""
    corners = np.array([*itertools.product(*((0, size - 1) for size in stack_shape(image)), (1,))], float).T
    apart = np.linalg.solve(image.affine, volume.affine @ corners) - corners
    return float(np.abs(apart[:3]).max())


def check_on_grid(
    volume: Volume, role: str, image: Volume, image_role: str, *, remedy: str, by_index: bool = False
) -> None:
    """Check that a label map, mask or map of weights lies voxel by voxel on its image.

    Args:
        volume: what belongs to the image.
        role: what it is called where it has no file.
        image: its image.
        image_role: likewise of the image.
        remedy: what to do about another shape.
        by_index: arrays match whatever their headers say, the rule of Learn2Reg; only shapes are compared.

    Raises:
        DataError: another shape, or another place in the world; names both files.
    """
    file, its_image = called(volume, role), called(image, image_role)
    if stack_shape(volume) != stack_shape(image):
        raise DataError(
            f"{file} has shape {volume.shape} but its image {its_image} has {image.shape}: it must lie "
            f"on the grid of that image. {remedy}."
        )
    apart = 0.0 if by_index else gap(volume, image)
    if not apart <= SAME_PLACE:
        raise DataError(
            f"{file} has the shape of its image {its_image} but another place in the world (a "
            f"corner is {apart:.1f} voxels off). Copy the image's header to it, or "
            "resample it."
        )
