"""Bringing images, labels, points and fields from the grid they were stored on to the grid of the pair."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from medreg.errors import ConfigError, DataError
from medreg.geometry.grid import Grid, world_displacement
from medreg.geometry.warp import warp

Alignment = Literal["world", "index", "centre", "mask"]
SAME_VOXEL = 0.01  # voxels; header rounding moves the far corner of a grid by less than this


def crop_start(old: Sequence[int], new: Sequence[int | None]) -> list[int]:
    """First voxel of a centre crop; negative where the image is padded.

    floor((old − new)/2) when cropping, −floor((new − old)/2) when padding (GraDIRN's release); None keeps an
    axis.
    """
    return [
        0 if wanted is None else (size - wanted) // 2 if size >= wanted else -((wanted - size) // 2)
        for size, wanted in zip(old, new, strict=True)
    ]


def cropped(grid: Grid, start: Sequence[int], shape: Sequence[int]) -> Grid:
    """Grid of the given shape whose first voxel is voxel `start` of `grid`."""
    shift = torch.eye(4, dtype=torch.float64)
    shift[:3, 3] = torch.tensor(list(start), dtype=torch.float64)
    return Grid(tuple(shape), grid.affine @ shift)


def centre_crop(grid: Grid, size: Sequence[int | None] | None, *, centre: Tensor | None = None) -> Grid:
    """Grid cropped or padded to a size about its middle, or about a voxel position.

    Args:
        grid: grid of the image.
        size: voxels per axis; None keeps an axis. Two numbers mean the first two axes.
        centre: (3,) voxel that becomes the middle of the crop; the crop is shifted to stay inside the image.
    """
    if size is None:
        return grid
    wanted = [*size, *[None] * (3 - len(size))]
    start = crop_start(grid.shape, wanted)
    shape = [old if new is None else new for old, new in zip(grid.shape, wanted, strict=True)]
    if centre is not None:
        for axis, (old, new) in enumerate(zip(grid.shape, shape, strict=True)):
            if new < old:
                start[axis] = max(0, min(round(float(centre[axis])) - new // 2, old - new))
    return cropped(grid, start, shape)


def share_outside(labels: Tensor, grid: Grid, crop: Grid) -> dict[int, float]:
    """Share of each label's voxels whose centres lie beyond a crop.

    Args:
        labels: (1, X, Y, Z) integers.
        grid: their grid, where the alignment has put it.
        crop: what is kept.

    Returns:
        code → share in [0, 1] of every code but 0; empty where the crop keeps the whole grid.
    """
    there = torch.nonzero(labels[0])
    if not len(there):
        return {}
    codes = labels[0][tuple(there.T)]
    position = crop.world_to_voxel(grid.voxel_to_world(there.to(torch.float64)))
    last = torch.tensor(crop.shape, dtype=torch.float64) - 1
    outside = ((position < -0.5) | (position > last + 0.5)).any(1)
    return {int(code): float(outside[codes == code].double().mean()) for code in torch.unique(codes)}


def resized(grid: Grid, shape: Sequence[int | None] | None) -> Grid:
    """Grid of another size whose corner voxels keep their place (align_corners)."""
    if shape is None:
        return grid
    wanted = [*shape, *[None] * (3 - len(shape))]
    sizes = [old if new is None else new for old, new in zip(grid.shape, wanted, strict=True)]
    factors = [(o - 1) / (n - 1) if n > 1 else 1.0 for o, n in zip(grid.shape, sizes, strict=True)]
    return Grid(tuple(sizes), grid.affine @ torch.diag(torch.tensor([*factors, 1.0], dtype=torch.float64)))


def aligned(
    moving: Grid, fixed: Grid, alignment: Alignment, *, centres_mm: tuple[Tensor, Tensor] | None = None
) -> Grid:
    """Grid of the moving image with the affine under which it is compared with the fixed image.

    Args:
        moving: grid of the moving image.
        fixed: grid of the fixed image, before cropping.
        alignment: "world" keeps the affine; "index" lets voxel i lie where voxel i of the fixed image lies
            (the rule of Learn2Reg); "centre" shifts the moving image so that the middles of both coincide,
            "mask" so that the centres of mass of both masks do.
        centres_mm: (3,) centres of the fixed and the moving mask, RAS mm; needed for "mask".

    Raises:
        ConfigError: an unknown alignment.
        DataError: "mask" without masks.
    """
    if alignment == "world":
        return moving
    if alignment == "index":
        return Grid(moving.shape, fixed.affine)
    if alignment == "centre":
        return _shifted(moving, _middle(fixed) - _middle(moving))
    if alignment == "mask":
        if centres_mm is None:
            raise DataError(
                "data.preprocess.alignment=mask needs a mask of both images that is not empty; "
                "choose world, index or centre for data without."
            )
        return _shifted(moving, centres_mm[0] - centres_mm[1])
    raise ConfigError(f"data.preprocess.alignment is {alignment!r}; choose world, index, centre or mask.")


def mask_centre(mask: Tensor, grid: Grid) -> Tensor | None:
    """Centre of mass of a mask (1, X, Y, Z) in RAS mm, (3,); None for an empty one."""
    voxels = torch.nonzero(mask[0])
    return grid.voxel_to_world(voxels.to(torch.float64).mean(0)) if len(voxels) else None


def _shifted(grid: Grid, shift_mm: Tensor) -> Grid:
    affine = grid.affine.clone()
    affine[:3, 3] += shift_mm
    return Grid(grid.shape, affine)


def _middle(grid: Grid) -> Tensor:
    return grid.voxel_to_world((torch.tensor(grid.shape, dtype=torch.float64) - 1) / 2)


@lru_cache(maxsize=16)
def whole_offset(source: Grid, target: Grid) -> tuple[int, ...] | None:
    """Voxel of `source` at the first voxel of `target`, if the grids differ by a whole-voxel shift only.

    Remembered for the last few pairs of grids (by identity): image, label map and mask of a sample share them.
    """
    if source is target or torch.equal(source.affine, target.affine):
        return (0,) * target.ndim
    matrix = torch.linalg.solve(source.affine, target.affine)
    offset = matrix[:3, 3].round()
    rest = matrix[:3].clone()
    rest[:, 3] -= offset
    rest[:, :3] -= torch.eye(3, dtype=torch.float64)
    reach = torch.tensor([*target.shape, 1.0], dtype=torch.float64)
    if float((rest.abs() @ reach).max()) > SAME_VOXEL:
        return None
    return tuple(int(value) for value in offset)


def to_grid(
    array: Tensor, source: Grid, target: Grid, *, mode: Literal["linear", "nearest"], background: float = 0.0
) -> Tensor:
    """Array seen on another grid; a copy without interpolation where the grids differ by whole voxels.

    Args:
        array: (C, X, Y, Z).
        source: its grid.
        target: grid of the result.
        mode: "linear" for images, "nearest" for labels and masks.
        background: value outside the source.

    Returns:
        (C, *target.shape).
    """
    offset = whole_offset(source, target)
    if offset is not None:
        return crop_pad(array, offset, target.shape, value=background)
    displacement = world_displacement(target, source)
    shifted = array - background if background else array
    moved = warp(shifted.unsqueeze(0), displacement, mode=mode, padding="zeros")[0]
    return moved + background if background else moved


def crop_pad(array: Tensor, start: Sequence[int], shape: Sequence[int], *, value: float = 0.0) -> Tensor:
    """Window of an array that may reach beyond it; (C, *S) → (C, *shape)."""
    pads: list[int] = []
    window = [slice(None)]
    for size, first, length in zip(array.shape[1:], start, shape, strict=True):
        low, high = min(max(first, 0), size), max(min(first + length, size), 0)
        high = max(low, high)
        before = min(max(-first, 0), length) if high > low else length
        window.append(slice(low, high))
        pads = [before, length - before - (high - low), *pads]
    part = array[tuple(window)]
    return F.pad(part, pads, value=value) if any(pads) else part


def field_to_grid(field: Tensor, source: Grid, target: Grid) -> Tensor:
    """Displacement field, voxels of `source`, as voxels of `target`: u_t = A_t⁻¹ A_s u_s at the same place.

    Args:
        field: (3, X, Y, Z), voxels of the source grid.
        source: grid on which the field is defined.
        target: grid of the result.

    Returns:
        (3, *target.shape), voxels of the target grid.
    """
    matrix = torch.linalg.solve(target.affine[:3, :3], source.affine[:3, :3]).to(field)
    moved = to_grid(field, source, target, mode="linear")
    if torch.equal(matrix, torch.eye(3).to(matrix)):  # the grids differ by a shift, as a crop does
        return moved
    return torch.einsum("ij,jxyz->ixyz", matrix, moved)


def points_to_grid(points_mm: Tensor, source: Grid, placed: Grid, target: Grid) -> Tensor:
    """World points of an image as voxels of the target grid, under the alignment that `placed` expresses.

    Args:
        points_mm: (P, 3) float64, RAS mm of the image's own header.
        source: grid of the image by its header.
        placed: its grid after `aligned`.
        target: grid of the pair.
    """
    return target.world_to_voxel(placed.voxel_to_world(source.world_to_voxel(points_mm)))


def residual_affine(source: Grid, placed: Grid, target: Grid) -> Tensor:
    """Voxel → mm for differences between points of a moving image seen on the target grid.

    Where images are compared by index, a voxel of the target stands for a voxel of the moving image, whose
    own voxel size decides how far apart two of its points are (the rule of Learn2Reg, evaluation.py of MDL-UzL/L2R).

    Args:
        source: grid of the moving image by its header.
        placed: its grid after `aligned`.
        target: grid of the pair.

    Returns:
        (4, 4) float64; equal to the affine of `target` where `placed` keeps the voxel size of `source`.
    """
    return source.affine @ torch.linalg.solve(placed.affine, target.affine)
