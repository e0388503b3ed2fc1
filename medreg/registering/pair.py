"""The two images that someone wants registered, with all that may come with them, checked before any work."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from medreg.errors import DataError
from medreg.io.image import Volume, read_image, read_labels
from medreg.io.points import read_points, voxel_to_world
from medreg.io.stack import stack_shape

SAME_PLACE = 0.1  # voxels; label maps whose corners lie further from their image's are on another grid
Source = str | Path | Volume | NDArray[Any] | Tensor
Table = str | Path | NDArray[Any]


@dataclass(frozen=True)
class Pair:
    """A fixed and a moving image; labels and masks lie on the grid of their image.

    Attributes:
        fixed: image that stays; its grid is that of every result.
        moving: image that is warped; may have another grid.
        fixed_labels: label map of the fixed image.
        moving_labels: label map of the moving image.
        fixed_mask: where the fixed image may be compared (> 0).
        moving_mask: where the moving image may be compared (> 0).
        fixed_points_mm: (N, 3) RAS mm; row i corresponds to row i of the moving points.
        moving_points_mm: (N, 3) RAS mm.
        notes: oddities of headers that were resolved, for the log.
    """

    fixed: Volume
    moving: Volume
    fixed_labels: Volume | None = None
    moving_labels: Volume | None = None
    fixed_mask: Volume | None = None
    moving_mask: Volume | None = None
    fixed_points_mm: NDArray[np.float64] | None = None
    moving_points_mm: NDArray[np.float64] | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def planar(self) -> bool:
        """Say whether this is a pair of single slices."""
        return min(stack_shape(self.fixed)) == 1


def load_pair(
    fixed: Source,
    moving: Source,
    *,
    labels: tuple[Source | None, Source | None] = (None, None),
    masks: tuple[Source | None, Source | None] = (None, None),
    points: tuple[Table | None, Table | None] = (None, None),
    fixed_labels_alone: bool = False,
) -> Pair:
    """Read and check a pair.

    Args:
        fixed: file, `Volume`, or array (identity affine, 1 mm).
        moving: likewise.
        labels: label maps of fixed and moving image, each on the grid of its image.
        masks: where the fixed and the moving image may be compared (> 0).
        points: CSV or (N, D) array, 0-based voxels of each image, row by row the same places.
        fixed_labels_alone: whether labels of the fixed image have a use without those of the moving one.

    Raises:
        DataError: a file that cannot be read, 2-D with 3-D, NaN, a constant image, a label map or mask on another
            grid than its image, only one of two label maps or point lists.
    """
    images = (as_image(fixed, "fixed"), as_image(moving, "moving"))
    _check_dimensions(*images)
    if not (fixed_labels_alone and labels[0] is not None):
        _check_both(labels, "labels")
    _check_both(points, "points")

    def on_grid(source: Source | None, role: str, image: Volume) -> Volume | None:
        return None if source is None else _map_on_grid(source, role, image)

    places = (_points_mm(points[0], images[0]), _points_mm(points[1], images[1]))
    _check_points(*places)
    sides = tuple(zip(("fixed", "moving"), images, strict=True))
    return Pair(
        fixed=images[0],
        moving=images[1],
        fixed_labels=on_grid(labels[0], "fixed labels", images[0]),
        moving_labels=on_grid(labels[1], "moving labels", images[1]),
        fixed_mask=on_grid(masks[0], "fixed mask", images[0]),
        moving_mask=on_grid(masks[1], "moving mask", images[1]),
        fixed_points_mm=places[0],
        moving_points_mm=places[1],
        notes=tuple(f"{called(volume, side)}: {note}" for side, volume in sides for note in volume.notes),
    )


def _check_both(pair: tuple[Any, Any], kind: str) -> None:
    if (pair[0] is None) != (pair[1] is None):
        have, lack = ("fixed", "moving") if pair[1] is None else ("moving", "fixed")
        raise DataError(f"--{have}-{kind} is given but --{lack}-{kind} is not; metrics need both.")


def called(volume: Volume, side: str) -> str:
    """Return how an image is called in messages: its file, or its role."""
    return str(volume.path) if volume.path is not None else f"the {side} image"


def as_image(source: Source, side: str) -> Volume:
    """Return an image from a file, a Volume or an array, refusing what cannot be registered.

    Raises:
        DataError: unreadable, NaN, constant, or not 2-D or 3-D.
    """
    volume = read_image(source) if isinstance(source, str | Path) else _in_memory(source, np.float32)
    if volume.array.ndim not in (2, 3):
        raise DataError(f"{called(volume, side)} has shape {volume.shape}; give a 2-D or 3-D image.")
    if not np.isfinite(volume.array).all():
        count = int((~np.isfinite(volume.array)).sum())
        raise DataError(
            f"{called(volume, side)} holds {count} NaN or infinite values; replace them (by 0, or by the "
            "background) and save it again."
        )
    if float(volume.array.min()) == float(volume.array.max()):
        raise DataError(
            f"{called(volume, side)} is constant (every voxel is {float(volume.array.flat[0]):g}): there is "
            "nothing to register. Is it the right file?"
        )
    return volume


def as_labels(source: Source) -> Volume:
    """Return a label map from a file, a Volume or an array."""
    return read_labels(source) if isinstance(source, str | Path) else _in_memory(source, np.int32)


def _in_memory(source: Volume | NDArray[Any] | Tensor, dtype: Any) -> Volume:
    if isinstance(source, Volume):
        array = np.ascontiguousarray(source.array, dtype=dtype)
        return Volume(array, source.affine, source.spacing_mm, source.notes, source.path)
    values = source.detach().cpu().numpy() if isinstance(source, Tensor) else source
    array = np.ascontiguousarray(values, dtype=dtype)
    return Volume(array, np.eye(4), (1.0,) * array.ndim)


def _check_dimensions(fixed: Volume, moving: Volume) -> None:
    flat = {side: min(stack_shape(volume)) == 1 for side, volume in (("fixed", fixed), ("moving", moving))}
    if flat["fixed"] != flat["moving"]:
        two, three = ("fixed", "moving") if flat["fixed"] else ("moving", "fixed")
        shapes = {"fixed": fixed.shape, "moving": moving.shape}
        raise DataError(
            f"The {two} image is 2-D {shapes[two]} and the {three} image is 3-D {shapes[three]}: a slice "
            "cannot be registered to a volume. Cut the matching slice out of the volume first."
        )
    if flat["fixed"] and stack_shape(fixed).index(1) != stack_shape(moving).index(1):
        raise DataError(
            f"The two slices have their single layer on different axes ({fixed.shape} and {moving.shape}); "
            "store both with the same axis order."
        )


def _map_on_grid(source: Source, role: str, image: Volume) -> Volume:
    volume = as_labels(source)
    side = role.split(" ")[0]
    if volume.path is None and not isinstance(source, Volume):
        volume = Volume(volume.array, image.affine, image.spacing_mm)  # a bare array lies on its image's grid
    check_on_grid(volume, role, image, side, remedy="Resample it with nearest neighbour")
    return volume


def check_on_grid(volume: Volume, role: str, image: Volume, side: str, *, remedy: str) -> None:
    """Check that a label map, mask or map of weights lies voxel by voxel on its image.

    Args:
        volume: what belongs to the image.
        role: what it is called where it has no file.
        image: its image.
        side: likewise of the image.
        remedy: what to do about another shape.

    Raises:
        DataError: another shape, or another place in the world; names both files.
    """
    file = called(volume, role)
    if stack_shape(volume) != stack_shape(image):
        raise DataError(
            f"{file} has shape {volume.shape} but its image {called(image, side)} has {image.shape}: it must lie "
            f"on the grid of that image. {remedy}."
        )
    far = np.array([*(size - 1 for size in stack_shape(image)), 1.0])
    for corner in (np.array([0, 0, 0, 1.0]), far):
        gap = np.linalg.solve(image.affine, volume.affine @ corner) - corner
        if np.abs(gap[:3]).max() > SAME_PLACE:
            raise DataError(
                f"{file} has the shape of its image {called(image, side)} but another place in the world (a "
                f"corner is {np.abs(gap[:3]).max():.1f} voxels off). Copy the image's header to it, or "
                "resample it."
            )


def _points_mm(source: Table | None, image: Volume) -> NDArray[np.float64] | None:
    if source is None:
        return None
    voxels = read_points(source) if isinstance(source, str | Path) else np.asarray(source, dtype=np.float64)
    return voxel_to_world(voxels, image.affine)


def _check_points(fixed: NDArray[np.float64] | None, moving: NDArray[np.float64] | None) -> None:
    if fixed is not None and moving is not None and len(fixed) != len(moving):
        raise DataError(
            f"There are {len(fixed)} fixed points and {len(moving)} moving points; row i of one must be the "
            "same anatomical place as row i of the other."
        )
