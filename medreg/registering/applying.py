"""Apply a displacement field, ours or another tool's, to images, labels and points."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medreg.errors import ConfigError, DataError, FieldFormatError
from medreg.geometry.grid import Grid, identity_grid
from medreg.geometry.warp import sample, warp
from medreg.io.field import read_displacement
from medreg.io.image import Volume
from medreg.io.on_grid import called
from medreg.io.points import voxel_to_world, world_to_voxel, write_points
from medreg.io.stack import grid_of, stack_shape, tensor_of
from medreg.io.vectors import Field, index_field_to_world
from medreg.registering.looks import codes_of
from medreg.registering.pair import Source, as_image, as_points
from medreg.registering.placement import inside

SPACES = ("voxel", "ras", "lps")
RAS_TO_LPS = np.array([-1.0, -1.0, 1.0])


@dataclass(frozen=True, eq=False)
class WorldField:
    """A displacement field with its place in the world.

    Attributes:
        grid: the grid that it is defined on (three axes).
        displacement: (1, 3, *S) float64, voxels of that grid.
    """

    grid: Grid
    displacement: Tensor

    def move(self, points_mm: Tensor) -> Tensor:
        """Map world points (N, 3) RAS mm of fixed space to moving space, x + d(x).

        Beyond half a voxel outside the grid the displacement is zero, as in ITK.
        """
        voxels = self.grid.world_to_voxel(points_mm)
        shift = sample(self.displacement, voxels.unsqueeze(0), padding="border")[0]
        known = inside(voxels.T.unsqueeze(0), self.grid.shape)[0, 0]
        return self.grid.voxel_to_world(voxels + torch.where(known.unsqueeze(1), shift, 0.0))


def world_field(field: Field, *, fixed: Volume | None = None, moving: Volume | None = None) -> WorldField:
    """Return a field as a map of the world.

    Args:
        field: as read. One without geometry (Learn2Reg) matches arrays index by index and needs both images.
        fixed: image that such a field is defined on.
        moving: image that such a field points to; the fixed one if the two share a grid.

    Raises:
        FieldFormatError: a field without geometry and no fixed image, or one of another shape.
    """
    displacement = field.displacement.astype(np.float64)
    if not field.placed:
        if fixed is None:
            raise FieldFormatError(
                f"{field.path} is a field in voxels without geometry (Learn2Reg): give --reference FIXED, "
                "the image that it is defined on."
            )
        if displacement.shape[1:] != stack_shape(fixed):
            raise FieldFormatError(
                f"{field.path} has grid {displacement.shape[1:]} but {called(fixed, 'reference')} has "
                f"{fixed.shape}."
            )
        other = fixed if moving is None else moving
        displacement = index_field_to_world(displacement, fixed.affine, other.affine)
        return WorldField(grid_of(fixed), torch.from_numpy(displacement).unsqueeze(0))
    if displacement.shape[0] == 2:
        displacement = np.concatenate([displacement, np.zeros_like(displacement[:1])])[..., np.newaxis]
    grid = Grid(tuple(displacement.shape[1:]), torch.from_numpy(field.affine))
    return WorldField(grid, torch.from_numpy(np.ascontiguousarray(displacement)).unsqueeze(0))


def warp_volume(
    field: WorldField, volume: Volume, *, reference: Volume | None = None, nearest: bool = False
) -> Volume:
    """Return a moving image or label map seen from fixed space.

    Args:
        field: the map from fixed to moving space.
        volume: moving image.
        reference: image whose grid the result takes; None is the grid of the field.
        nearest: nearest neighbour instead of linear interpolation, for labels.

    Raises:
        DataError: the field sends no voxel of the result into the image; a slice, where the field is of a volume.
    """
    target = field.grid if reference is None else grid_of(reference)
    source = grid_of(volume)
    if volume.array.ndim == 2 and target.shape[-1] > 1:
        raise DataError(
            f"{called(volume, 'image')} is a slice {volume.shape}, but the result would be a volume "
            f"{tuple(target.shape)}. Give the moving volume that the field was made for."
        )
    identity = identity_grid(target.shape, dtype=torch.float64)
    points = identity.flatten(2)[0].T
    moved = source.world_to_voxel(field.move(target.voxel_to_world(points)))
    position = moved.T.reshape(identity.shape)
    covered = inside(position, source.shape)
    if not bool(covered.any()):
        raise DataError(
            f"The field sends every voxel outside {called(volume, 'image')}: is this the moving image that "
            "the field was made for?"
        )
    array = _sampled(volume, position - identity, covered, nearest=nearest)
    shape = target.shape if reference is None else reference.shape
    if reference is None and volume.array.ndim == 2:
        shape = shape[:2]
    affine = target.affine.numpy()
    spacing = tuple(float(value) for value in target.spacing_mm[: len(shape)])
    notes: tuple[str, ...] = ()
    if not nearest and codes_of(volume.array) is not None:
        notes = (
            f"{called(volume, 'image')} looks like a label map but was interpolated linearly, so that codes mix; warp "
            "it as labels",
        )
    return Volume(np.ascontiguousarray(array.reshape(shape)), affine, spacing, notes)


def _sampled(volume: Volume, displacement: Tensor, covered: Tensor, *, nearest: bool) -> NDArray[np.generic]:
    if nearest:
        labels = tensor_of(volume, dtype=torch.int32)
        return np.asarray(warp(labels, displacement, mode="nearest", padding="zeros").numpy())
    outside = min(0.0, float(volume.array.min()))
    warped = warp(tensor_of(volume, dtype=torch.float64), displacement, padding="border")
    return np.asarray(torch.where(covered, warped, outside).float().numpy())


def move_points(
    field: str | Path,
    points: str | Path | NDArray[Any],
    *,
    space: str,
    reference: Source | None,
    moving: Source | None,
    output: str | Path | None,
) -> NDArray[np.float64]:
    """Move points of fixed space to moving space; the arguments are those of `api.warp_points`.

    Raises:
        ConfigError: an unknown space.
    """
    if space not in SPACES:
        raise ConfigError(f"--space {space} is unknown; choose from {', '.join(SPACES)}.")
    fixed = None if reference is None else as_image(reference, "reference")
    target = None if moving is None else as_image(moving, "moving")
    placed = world_field(read_displacement(field, reference=fixed), fixed=fixed, moving=target)
    given = as_points(points, "points")
    ndim = given.shape[1]
    start = placed.grid.affine.numpy() if fixed is None else fixed.affine
    end = start if target is None else target.affine
    sign = RAS_TO_LPS if space == "lps" else np.ones(3)
    if space != "voxel" and ndim != 3:
        raise DataError(f"World points need three coordinates, these have {ndim}; use --space voxel.")
    world = voxel_to_world(given, start) if space == "voxel" else given * sign
    moved = placed.move(torch.from_numpy(world)).numpy()
    result = world_to_voxel(moved, end, ndim=ndim) if space == "voxel" else moved * sign
    if output is not None:
        write_points(output, result)
    return result
