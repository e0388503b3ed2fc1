"""Where the moving image lies relative to the fixed one before anything is registered."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from medreg.errors import ConfigError, DataError
from medreg.geometry.grid import Grid, identity_grid, matrix_to_displacement
from medreg.geometry.pair_transform import inside, voxel_matrix
from medreg.geometry.warp import warp
from medreg.io.on_grid import called
from medreg.io.stack import grid_of, tensor_of
from medreg.registering.pair import Pair

INITIALISATIONS = ("world", "none", "centre", "mass")
SAMPLES_PER_AXIS = 24  # of the fixed grid, to measure the overlap


def initial_matrix(pair: Pair, how: str) -> Tensor:
    """Return the (4, 4) map from fixed to moving world, RAS mm, with which registration starts.

    Args:
        pair: the images.
        how: "world" (or "none") trusts both headers (identity); "centre" shifts the middle of one grid to that of the
            other; "mass" the centre of intensity (of the mask, where given). For two single slices the shift
            along their normal is always applied: there is nothing to see between two planes.

    Raises:
        ConfigError: an unknown initialisation.
        DataError: the images do not overlap, and the message says where each lies; or their masks do not.
    """
    fixed, moving = grid_of(pair.fixed), grid_of(pair.moving)
    matrix = torch.eye(4, dtype=torch.float64)
    if how not in INITIALISATIONS:
        raise ConfigError(f"--initialise {how} is unknown; choose from auto, {', '.join(INITIALISATIONS)}.")
    if how == "centre":
        matrix[:3, 3] = _middle(moving) - _middle(fixed)
    elif how == "mass":
        matrix[:3, 3] = _mass(pair, "moving") - _mass(pair, "fixed")
    if pair.planar:
        normal = fixed.direction[:, min(range(3), key=lambda axis: fixed.shape[axis])]
        gap = _middle(moving) - _middle(fixed) - matrix[:3, 3]
        matrix[:3, 3] += normal * (gap @ normal)
    if overlap(fixed, moving, matrix) == 0:
        raise DataError(_apart(pair, fixed, moving, how))
    _check_masks(pair, fixed, moving, matrix)
    return matrix


def overlap(fixed: Grid, moving: Grid, world: Tensor) -> float:
    """Return the fraction of the fixed grid that the moving grid covers."""
    count = [min(size, SAMPLES_PER_AXIS) for size in fixed.shape]
    axes = [torch.linspace(0, s - 1, n, dtype=torch.float64) for s, n in zip(fixed.shape, count, strict=True)]
    points = torch.cartesian_prod(*axes)
    matrix = voxel_matrix(fixed, moving, world)
    moved = points @ matrix[:3, :3].T + matrix[:3, 3]
    return float(inside(moved.T.unsqueeze(0), moving.shape).double().mean())


def on_fixed_grid(
    volume: Tensor, fixed: Grid, moving: Grid, world: Tensor, *, mode: str = "linear"
) -> Tensor:
    """Return a moving array (1, 1, *S_m) seen on the fixed grid under a world map, (1, 1, *S_f)."""
    field = matrix_to_displacement(voxel_matrix(fixed, moving, world).unsqueeze(0), fixed.shape)
    if mode == "nearest":
        return warp(volume, field, mode="nearest", padding="zeros")
    return warp(volume, field.to(volume.dtype), padding="border")


def covered(fixed: Grid, moving: Grid, world: Tensor) -> Tensor:
    """Return where on the fixed grid the moving image exists, (1, 1, *S_f) float32."""
    field = matrix_to_displacement(voxel_matrix(fixed, moving, world).unsqueeze(0), fixed.shape)
    return inside(identity_grid(fixed.shape, dtype=torch.float64) + field, moving.shape).float()


def _check_masks(pair: Pair, fixed: Grid, moving: Grid, world: Tensor) -> None:
    """Check that the masks leave something to compare where registration starts."""
    if pair.fixed_mask is None and pair.moving_mask is None:
        return
    compared = covered(fixed, moving, world) > 0
    if pair.moving_mask is not None:
        given = tensor_of(pair.moving_mask)
        compared &= on_fixed_grid(given, fixed, moving, world, mode="nearest") > 0
    if pair.fixed_mask is not None:
        compared &= tensor_of(pair.fixed_mask) > 0
    if not bool(compared.any()):
        raise DataError(
            "The masks leave nothing to compare: no voxel inside the fixed mask lies inside the moving image and its "
            "mask. Check them, or place the images with --initialise mass."
        )


def _middle(grid: Grid) -> Tensor:
    return grid.voxel_to_world((torch.tensor(grid.shape, dtype=torch.float64) - 1) / 2)


def _mass(pair: Pair, side: str) -> Tensor:
    """Return the centre of intensity above the minimum, or of the mask, RAS mm."""
    image, mask = getattr(pair, side), getattr(pair, f"{side}_mask")
    weights = tensor_of(image if mask is None else mask, dtype=torch.float64)[0, 0]
    weights = weights - weights.min() if mask is None else (weights > 0).double()
    grid = grid_of(image)
    position = identity_grid(grid.shape, dtype=torch.float64)[0]
    centre = (position * weights).flatten(1).sum(1) / weights.sum()
    return grid.voxel_to_world(centre)


def _apart(pair: Pair, fixed: Grid, moving: Grid, how: str) -> str:
    middles = {"fixed": _middle(fixed), "moving": _middle(moving)}
    distance = math.dist(middles["fixed"].tolist(), middles["moving"].tolist())
    text = {side: ", ".join(f"{value:.0f}" for value in middle.tolist()) for side, middle in middles.items()}
    remedy = (
        "use --initialise centre to shift one onto the other" if how != "centre" else "check both headers"
    )
    return (
        f"{called(pair.fixed, 'fixed image')} and {called(pair.moving, 'moving image')} do not overlap in the world: "
        f"their centres ({text['fixed']}) and ({text['moving']}) mm are {distance:.0f} mm apart. If their "
        f"headers do not share a frame, {remedy}."
    )
