"""Voxel grids: where the voxels of an image lie, and how the grids of two images relate in the world.

This file and `medreg.io` are the only places where millimetres and affines turn into voxels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medreg.errors import DataError


def identity_grid(
    shape: Sequence[int],
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> Tensor:
    """Voxel coordinates of every voxel, x(i) = i.

    Args:
        shape: spatial size S = (X, Y) or (X, Y, Z).
        dtype: floating type of the coordinates.
        device: device of the grid.

    Returns:
        (1, D, *S), component k counts voxels along tensor axis k.
    """
    axes = [torch.arange(size, dtype=dtype, device=device) for size in shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")).unsqueeze(0)


def within_grid(displacement: Tensor) -> Tensor:
    """The displacement (B, D, *S), voxels, shortened along each axis so that no point leaves the grid."""
    parts = []
    for axis, size in enumerate(displacement.shape[2:]):
        place = torch.arange(size, dtype=displacement.dtype, device=displacement.device)
        place = place.reshape(-1, *[1] * (displacement.ndim - 3 - axis))
        parts.append(torch.clamp(displacement[:, axis], min=-place, max=size - 1 - place))
    return torch.stack(parts, 1)


def per_component(values: Tensor, ndim: int) -> Tensor:
    """Shape one number per component for broadcasting against a vector field.

    Args:
        values: (D,) or (B, D).
        ndim: spatial dimensions D of the field.

    Returns:
        (1, D, 1, ...) or (B, D, 1, ...).

    Raises:
        ValueError: the last axis is not D long.
    """
    if values.ndim not in (1, 2) or values.shape[-1] != ndim:
        raise ValueError(f"expected one number per axis, ({ndim},) or (B, {ndim}), got {tuple(values.shape)}")
    batched = values if values.ndim == 2 else values.unsqueeze(0)
    return batched.reshape(*batched.shape, *([1] * ndim))


def voxel_to_mm(displacement: Tensor, spacing_mm: Tensor) -> Tensor:
    """Displacement in millimetres along the grid's own axes, u_k s_k.

    Args:
        displacement: (B, D, *S), voxels.
        spacing_mm: (D,) or (B, D), mm.

    Returns:
        (B, D, *S), mm along the axes of the array (the direction cosines are not applied).
    """
    return displacement * per_component(spacing_mm.to(displacement), displacement.ndim - 2)


def mm_to_voxel(displacement_mm: Tensor, spacing_mm: Tensor) -> Tensor:
    """Undo `voxel_to_mm`.

    Args:
        displacement_mm: (B, D, *S), mm along the axes of the array.
        spacing_mm: (D,) or (B, D), mm.

    Returns:
        (B, D, *S), voxels.
    """
    return displacement_mm / per_component(spacing_mm.to(displacement_mm), displacement_mm.ndim - 2)


def _determinant(rows: list[list[float]]) -> float:
    """By expansion along the first row: a tenth of the time of a factorisation, and grids are made often."""
    if len(rows) == 1:
        return rows[0][0]
    minors = ([row[:k] + row[k + 1 :] for row in rows[1:]] for k in range(len(rows)))
    return sum((-1) ** k * rows[0][k] * _determinant(minor) for k, minor in enumerate(minors))


@dataclass(frozen=True, eq=False)
class Grid:
    """The grid of an image in the world.

    Attributes:
        shape: spatial size S.
        affine: (D+1, D+1) float64 on the CPU, voxel coordinates to RAS world coordinates in mm.
    """

    shape: tuple[int, ...]
    affine: Tensor

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(int(size) for size in self.shape))
        affine = torch.as_tensor(self.affine).detach().to("cpu", torch.float64)
        object.__setattr__(self, "affine", affine)
        side = len(self.shape) + 1
        if affine.shape != (side, side):
            raise DataError(
                f"The affine of a grid of size {self.shape} must be {side}x{side}, it is "
                f"{'x'.join(map(str, affine.shape))}; pass the affine of as many axes as the image has."
            )
        volume = _determinant(affine[:-1, :-1].tolist())
        if volume == 0 or not math.isfinite(volume) or not math.isfinite(sum(affine.flatten().tolist())):
            raise DataError(f"The affine {affine.tolist()} cannot be inverted; correct the image's header.")

    @property
    def ndim(self) -> int:
        """Number of spatial dimensions D."""
        return len(self.shape)

    @property
    def spacing_mm(self) -> Tensor:
        """(D,) float64, distance between neighbouring voxels along each axis in mm."""
        return self.affine[:-1, :-1].norm(dim=0)

    @property
    def direction(self) -> Tensor:
        """(D, D) float64, column a is the unit vector in the world along which voxel axis a runs."""
        return self.affine[:-1, :-1] / self.spacing_mm

    def voxel_to_world(self, points: Tensor) -> Tensor:
        """World position of voxel coordinates.

        Args:
            points: (..., D), voxels.

        Returns:
            (..., D), mm, RAS.
        """
        return _apply(self.affine, points)

    def world_to_voxel(self, points: Tensor) -> Tensor:
        """Voxel coordinates of world positions.

        Args:
            points: (..., D), mm, RAS.

        Returns:
            (..., D), voxels.
        """
        return _apply(torch.linalg.inv(self.affine), points)


def matrix_to_displacement(matrix: Tensor, shape: Sequence[int]) -> Tensor:
    """Displacement field of an affine map of voxel coordinates, u(x) = A x + t − x.

    Args:
        matrix: (B, D+1, D+1) or (B, D, D+1), homogeneous, fixed voxels to moving voxels.
        shape: size S of the fixed grid.

    Returns:
        (B, D, *S), voxels.
    """
    ndim = len(shape)
    eye = torch.eye(ndim, dtype=matrix.dtype, device=matrix.device)
    linear = matrix[:, :ndim, :ndim] - eye
    field = matrix[:, :ndim, ndim].reshape(-1, ndim, *([1] * ndim))
    for axis, size in enumerate(shape):
        view = [1] * (ndim + 2)
        view[2 + axis] = size
        steps = torch.arange(size, dtype=matrix.dtype, device=matrix.device).reshape(view)
        field = field + linear[:, :, axis].reshape(-1, ndim, *([1] * ndim)) * steps
    return field


def world_displacement(fixed: Grid, moving: Grid, *, dtype: torch.dtype = torch.float32) -> Tensor:
    """Displacement that brings the moving array onto the fixed grid through world coordinates.

    Voxel i of the fixed grid lies at A_f i in the world and thus at A_m⁻¹ A_f i in the moving array;
    u(i) = A_m⁻¹ A_f i − i. `warp(moving_array, u)` is the moving image seen on the fixed grid.

    Args:
        fixed: grid on which the result is defined.
        moving: grid of the array that will be sampled; may differ in size, spacing, origin and direction.
        dtype: type of the result (the computation is in float64).

    Returns:
        (1, D, *S_fixed), voxels of the moving grid.

    Raises:
        DataError: the grids have different numbers of dimensions.
    """
    if fixed.ndim != moving.ndim:
        raise DataError(
            f"A {fixed.ndim}-D fixed grid cannot be related to a {moving.ndim}-D moving grid; "
            "use images of the same number of dimensions."
        )
    matrix = torch.linalg.solve(moving.affine, fixed.affine)
    return matrix_to_displacement(matrix.unsqueeze(0), fixed.shape).to(dtype)


def _apply(matrix: Tensor, points: Tensor) -> Tensor:
    matrix = matrix.to(points.device, torch.promote_types(points.dtype, torch.float32))
    moved = points.to(matrix.dtype) @ matrix[:-1, :-1].mT + matrix[:-1, -1]
    return moved
