"""Target registration error of corresponding points."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from medreg.errors import ConfigError
from medreg.geometry.warp import warp_points

Interpolation: TypeAlias = Literal["linear", "cubic"]


def _move_cubic(points: Tensor, displacement: Tensor) -> Tensor:
    """Points plus the cubic B-spline interpolant of the field there; the field is 0 outside the grid."""
    positions = points.double().cpu().numpy()
    fields = displacement.double().cpu().numpy()
    moved = [
        np.stack([ndimage.map_coordinates(part, where.T, order=3) for part in field], axis=-1)
        for field, where in zip(fields, positions, strict=True)
    ]
    return points.double() + torch.from_numpy(np.stack(moved)).to(points.device)


def _move_linear(points: Tensor, displacement: Tensor) -> Tensor:
    """Points plus the multilinear interpolant of the field there."""
    return warp_points(points.double(), displacement.double())


_MOVES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {"linear": _move_linear, "cubic": _move_cubic}


def tre_mm(
    fixed_points: Tensor,
    moving_points: Tensor,
    displacement: Tensor,
    *,
    spacing_mm: Tensor | None = None,
    affine: Tensor | None = None,
    interpolation: Interpolation = "linear",
) -> Tensor:
    """Distance in mm between each fixed point moved by the displacement and its partner: ‖A (k + u(k) − m)‖.

    Args:
        fixed_points: (B, P, D) voxel coordinates k.
        moving_points: (B, P, D) voxel coordinates m on the grid whose spacing or affine is given.
        displacement: (B, D, *S) voxels, pull direction, so it carries fixed points to moving ones.
        spacing_mm: (B, D) or (D,) voxel size; a residual is scaled axis by axis.
        affine: (B, E+1, E+1) voxel → world mm, E ≥ D (a slice in the world has E = 3, D = 2); used instead of
            the spacing, and the only right choice for a sheared grid.
        interpolation: "linear", the field continued by its border value; "cubic", scipy's interpolating
            cubic B-spline with 0 outside the grid, as the evaluation of Learn2Reg does.

    Returns:
        (B, P) float64, mm.

    Raises:
        ConfigError: not exactly one of spacing and affine is given, or the interpolation is unknown.
    """
    if (spacing_mm is None) == (affine is None):
        raise ConfigError("tre_mm needs exactly one of spacing_mm and affine to turn voxels into mm.")
    if interpolation not in _MOVES:
        raise ConfigError(f"interpolation={interpolation!r} is not one of {', '.join(_MOVES)}.")
    residual = _MOVES[interpolation](fixed_points, displacement) - moving_points.double()
    if affine is not None:
        axes = residual.shape[-1]
        residual = residual @ affine[..., :-1, :axes].to(residual).mT
    elif spacing_mm is not None:
        residual = residual * spacing_mm.to(residual).unsqueeze(-2)
    return torch.linalg.vector_norm(residual, dim=-1)
