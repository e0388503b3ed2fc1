"""The two images that someone wants registered, with all that may come with them, checked before any work."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from medreg.errors import DataError
from medreg.io.forms import check_placement
from medreg.io.frames import split_frame
from medreg.io.image import Volume, checked_affine, read_image, read_labels, read_mask
from medreg.io.labels import exact_labels, exact_mask
from medreg.io.on_grid import called, check_on_grid
from medreg.io.points import read_points, voxel_to_world
from medreg.io.stack import stack_shape
from medreg.registering.looks import check_looks

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
    labels_alone: tuple[bool, bool] = (False, False),
) -> Pair:
    """Read and check a pair.

    Args:
        fixed: file, `Volume`, or array (identity affine, 1 mm).
        moving: likewise.
        labels: label maps of fixed and moving image, each on the grid of its image.
        masks: where the fixed and the moving image may be compared (> 0).
        points: CSV or (N, D) array, 0-based voxels of each image, row by row the same places.
        labels_alone: whether labels of the fixed image have a use without those of the moving one, and the other way.

    Raises:
        DataError: a file that cannot be read, 2-D with 3-D, NaN, a constant image, a label map or mask on another
            grid than its image, only one of two label maps or point lists.
    """
    images = (as_image(fixed, "fixed"), as_image(moving, "moving"))
    _check_dimensions(*images)
    looks = check_looks(*images)
    if not any(useful and given is not None for useful, given in zip(labels_alone, labels, strict=True)):
        _check_both(labels, "labels")
    _check_both(points, "points")

    def labels_on(source: Source | None, role: str, image: Volume) -> Volume | None:
        if source is None:
            return None
        return _with_structures(_on_grid(as_labels(source, role), source, role, image), role)

    def mask_on(source: Source | None, role: str, image: Volume) -> Volume | None:
        return None if source is None else _on_grid(as_mask(source, role), source, role, image)

    places = (_points_mm(points[0], "fixed", images[0]), _points_mm(points[1], "moving", images[1]))
    _check_points(*places)
    sides = tuple(zip(("fixed", "moving"), images, strict=True))
    return Pair(
        fixed=images[0],
        moving=images[1],
        fixed_labels=labels_on(labels[0], "fixed labels", images[0]),
        moving_labels=labels_on(labels[1], "moving labels", images[1]),
        fixed_mask=mask_on(masks[0], "fixed mask", images[0]),
        moving_mask=mask_on(masks[1], "moving mask", images[1]),
        fixed_points_mm=places[0],
        moving_points_mm=places[1],
        notes=looks
        + tuple(
            f"{called(volume, f'{side} image')}: {note}" for side, volume in sides for note in volume.notes
        ),
    )


def _with_structures(labels: Volume, role: str) -> Volume:
    """Return a label map that has something to score.

    Raises:
        DataError: all of it is background.
    """
    if not (labels.array > 0).any():
        raise DataError(
            f"{called(labels, role)} holds no structure (no code above 0), so there is nothing to score. Is it the "
            "right file? Leave both label maps out to register without them."
        )
    return labels


def _check_both(pair: tuple[Any, Any], kind: str) -> None:
    if (pair[0] is None) != (pair[1] is None):
        have, lack = ("fixed", "moving") if pair[1] is None else ("moving", "fixed")
        raise DataError(f"--{have}-{kind} is given but --{lack}-{kind} is not; metrics need both.")


def as_image(source: Source, side: str) -> Volume:
    """Return an image from a file, a Volume or an array, refusing what cannot be registered.

    Raises:
        DataError: unreadable, NaN, constant, or not 2-D or 3-D.
    """
    if isinstance(source, str | Path):
        file, frame = split_frame(source)
        volume = read_image(file, frame=frame)
    else:
        volume = in_memory(source, f"{side} image")
        with np.errstate(over="ignore"):  # what does not fit becomes infinite, and is refused below
            volume = replace(volume, array=np.ascontiguousarray(volume.array, dtype=np.float32))
    name = called(volume, f"{side} image")
    if volume.array.ndim not in (2, 3):
        raise DataError(f"{name} has shape {volume.shape}; give a 2-D or 3-D image.")
    if not np.isfinite(volume.array).all():
        count = int((~np.isfinite(volume.array)).sum())
        raise DataError(
            f"{name} holds {count} NaN or infinite values; replace them (by 0, or by the "
            "background) and save it again."
        )
    if float(volume.array.min()) == float(volume.array.max()):
        raise DataError(
            f"{name} is constant (every voxel is {float(volume.array.flat[0]):g}): there is "
            "nothing to register. Is it the right file?"
        )
    return volume


def as_labels(source: Source, role: str = "label map") -> Volume:
    """Return a label map, int32, from a file, a Volume or an array.

    Raises:
        DataError: it cannot be read, or its codes are no exact integers of 32 bits.
    """
    if isinstance(source, str | Path):
        file, frame = split_frame(source)
        return read_labels(file, frame=frame)
    volume = in_memory(source, role)
    return replace(volume, array=np.ascontiguousarray(exact_labels(volume.array, called(volume, role))))


def as_mask(source: Source, role: str = "mask") -> Volume:
    """Return a mask, uint8 of 0 and 1, from a file, a Volume or an array.

    Raises:
        DataError: it cannot be read, is neither in nor out somewhere, or holds no voxel.
    """
    if isinstance(source, str | Path):
        file, frame = split_frame(source)
        volume = read_mask(file, frame=frame)
    else:
        volume = in_memory(source, role)
        volume = replace(volume, array=np.ascontiguousarray(exact_mask(volume.array, called(volume, role))))
    if not volume.array.any():
        raise DataError(
            f"{called(volume, role)} holds no voxel: a mask says where an image may be compared. Leave it out, or give "
            "the right file."
        )
    return volume


def in_memory(source: Volume | NDArray[Any] | Tensor, role: str) -> Volume:
    """Return an array of real numbers with its place; a bare one has voxels of 1 mm.

    Raises:
        DataError: complex numbers or no numbers, no voxel, or a place that no image can have.
    """
    if isinstance(source, np.ma.MaskedArray) and np.ma.is_masked(source):
        raise DataError(
            f"{role} is a masked array, whose mask would be lost; fill it (array.filled(VALUE)), and give the mask by "
            "fixed_mask or moving_mask."
        )
    if isinstance(source, Volume):
        volume = replace(source, affine=np.asarray(source.affine, dtype=np.float64))
    else:
        values = np.asarray(source.detach().cpu().numpy() if isinstance(source, Tensor) else source)
        volume = Volume(values, np.eye(4), (1.0,) * values.ndim)
    name = called(volume, role)
    if volume.array.dtype.kind not in "biuf":
        raise DataError(
            f"{name} holds values of type {volume.array.dtype}; give real numbers (of complex ones the magnitude)."
        )
    if not volume.array.size:
        raise DataError(f"{name} has shape {volume.shape}: it holds no voxel.")
    check_placement(checked_affine(volume.affine, name), name)
    return volume


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


def _on_grid(volume: Volume, source: Source, role: str, image: Volume) -> Volume:
    """Return a label map or mask after checking that it lies on its image; a bare array is taken to."""
    if not isinstance(source, str | Path | Volume):
        volume = replace(volume, affine=image.affine, spacing_mm=image.spacing_mm)
    side = f"{role.split(' ')[0]} image"
    check_on_grid(volume, role, image, side, remedy="Resample it with nearest neighbour")
    return volume


def _points_mm(source: Table | None, side: str, image: Volume) -> NDArray[np.float64] | None:
    if source is None:
        return None
    return voxel_to_world(as_points(source, f"{side} points"), image.affine)


def as_points(source: Table, role: str) -> NDArray[np.float64]:
    """Return points (N, 2) or (N, 3) from a file or an array.

    Raises:
        DataError: a file that cannot be read, another shape, no real numbers, or NaN.
    """
    if isinstance(source, str | Path):
        return read_points(source)
    array = np.asarray(source)
    if array.dtype.kind not in "biuf" or array.ndim != 2 or array.shape[1] not in (2, 3) or not len(array):
        raise DataError(
            f"The {role} have shape {array.shape} and type {array.dtype}; give (N, 2) or (N, 3) real numbers."
        )
    if not np.isfinite(array).all():
        raise DataError(f"The {role} hold NaN or infinite values; leave such points out of both lists.")
    return array.astype(np.float64)


def _check_points(fixed: NDArray[np.float64] | None, moving: NDArray[np.float64] | None) -> None:
    if fixed is not None and moving is not None and len(fixed) != len(moving):
        raise DataError(
            f"There are {len(fixed)} fixed points and {len(moving)} moving points; row i of one must be the "
            "same anatomical place as row i of the other."
        )
