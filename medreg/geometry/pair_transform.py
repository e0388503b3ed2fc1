"""The answer for a pair: one map from fixed to moving space, and what can be done with it.

    x_moving(i) = A_m⁻¹ · T · A_f · (i + u(i))

A_f and A_m are the affines of the two files, T the initial or affine map of the world, u the displacement
that was estimated on the fixed grid. Everything that is written interpolates the original moving file once,
at x_moving.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from medreg.geometry.compose import Inverse, invert
from medreg.geometry.derivatives import jacobian_determinant
from medreg.geometry.grid import Grid, identity_grid
from medreg.geometry.warp import sample, warp


@dataclass(frozen=True, eq=False)
class PairTransform:
    """A registered pair's map from fixed to moving space.

    Attributes:
        fixed: grid of the fixed image (three axes, one slice for 2-D).
        moving: grid of the moving image.
        world: (4, 4) float64, T: fixed to moving world, RAS mm.
        displacement: (1, 3, *S_f) float32, u in voxels of the fixed grid; zero across slices in slice mode.
        slice_axis: axis across slices if each slice was registered by itself, None for a volume.
    """

    fixed: Grid
    moving: Grid
    world: Tensor
    displacement: Tensor
    slice_axis: int | None = None

    def total_displacement(self) -> Tensor:
        """Return (3, *S_f) float64, voxels of the fixed grid, of the whole map: A_f⁻¹ T A_f (i + u) − i."""
        return self.relative_to(torch.eye(4, dtype=torch.float64))[0]

    def relative_to(self, start: Tensor) -> Tensor:
        """Return (1, 3, *S_f) float64, voxels of the fixed grid: the map without its part `start` (4, 4)."""
        identity = identity_grid(self.fixed.shape, dtype=torch.float64)
        world = torch.linalg.solve(start, self.world)
        matrix = torch.linalg.solve(self.fixed.affine, world @ self.fixed.affine)
        return _apply(matrix, identity + self.displacement.double()) - identity

    def sampling_displacement(self) -> Tensor:
        """Return (1, 3, *S_f) float64: what `warp` of the moving array needs, x_moving(i) − i."""
        identity = identity_grid(self.fixed.shape, dtype=torch.float64)
        matrix = voxel_matrix(self.fixed, self.moving, self.world)
        return _apply(matrix, identity + self.displacement.double()) - identity

    def warp_image(self, moving: Tensor, *, outside: float) -> Tensor:
        """Return a moving image (1, 1, *S_m) on the fixed grid (1, 1, *S_f), linear, interpolated once.

        Beyond the moving image (half a voxel past its outer centres, as ITK counts) the value is `outside`.
        """
        warped = warp(moving.double(), self.sampling_displacement(), padding="border")
        return torch.where(self.covered(), warped, outside).to(torch.float32)

    def covered(self) -> Tensor:
        """Return where on the fixed grid the map lands inside the moving image, (1, 1, *S_f) bool."""
        position = identity_grid(self.fixed.shape, dtype=torch.float64) + self.sampling_displacement()
        return inside(position, self.moving.shape)

    def warp_labels(self, labels: Tensor) -> Tensor:
        """Return moving labels (1, 1, *S_m) on the fixed grid, nearest neighbour, 0 outside."""
        return warp(labels, self.sampling_displacement(), mode="nearest", padding="zeros")

    def points_to_moving(self, points_mm: Tensor) -> Tensor:
        """Map points (N, 3) RAS mm of fixed space to moving space."""
        voxels = self.fixed.world_to_voxel(points_mm.double())
        shift = sample(self.displacement.double(), voxels.unsqueeze(0), padding="border")
        moved = self.fixed.voxel_to_world(voxels + shift.reshape(voxels.shape))
        return moved @ self.world[:3, :3].T + self.world[:3, 3]

    def jacobian_determinant(self) -> Tensor:
        """Return (1, *S_f): determinant of the whole map; in slice mode of its in-plane part."""
        if self.slice_axis is None:
            local = jacobian_determinant(self.displacement)
        else:
            local = jacobian_determinant(to_slices(self.displacement, self.slice_axis))
            local = local.movedim(0, self.slice_axis).unsqueeze(0)
        return local * float(torch.linalg.det(self.world[:3, :3]))

    def inverse(self, *, iterations: int = 50, tolerance: float = 1e-3) -> Inverse:
        """Return the map from moving to fixed space with the residual of its inversion.

        With v the inverse displacement of u on the fixed grid, moving voxel j goes to p + v(p), p = A_f⁻¹
        T⁻¹ A_m j.

        Returns:
            With the displacement (3, *S_m) float64, voxels of the moving grid, pull: it warps the fixed image onto the
            moving grid. The residual is that of v, on the fixed grid.
        """
        field = (
            self.displacement if self.slice_axis is None else to_slices(self.displacement, self.slice_axis)
        )
        found = invert(field, iterations=iterations, tolerance=tolerance)
        inverse = found.displacement
        inverse = inverse if self.slice_axis is None else from_slices(inverse, self.slice_axis)
        identity = identity_grid(self.moving.shape, dtype=torch.float64)
        to_fixed = torch.linalg.inv(voxel_matrix(self.fixed, self.moving, self.world))
        start = _apply(to_fixed, identity)
        shift = warp(inverse.double(), start - identity, padding="border")
        # Where the moving grid's own axes measure the same world point: A_m⁻¹ A_f (p + v).
        back = torch.linalg.solve(self.moving.affine, self.fixed.affine)
        return replace(found, displacement=(_apply(back, start + shift) - identity)[0])


def to_slices(volume: Tensor, axis: int) -> Tensor:
    """Return (1, C, *S) as slices across an axis, (N, C, A, B); of three components those in plane."""
    slices = volume.movedim(2 + axis, 0)[:, 0]
    if slices.shape[1] == 3:
        kept = [component for component in range(3) if component != axis]
        return slices[:, kept]
    return slices


def from_slices(slices: Tensor, axis: int) -> Tensor:
    """Return in-plane displacements (N, 2, A, B) as (1, 3, *S) with a zero component across slices."""
    kept = [component for component in range(3) if component != axis]
    volume = slices.new_zeros(slices.shape[0], 3, *slices.shape[2:])
    volume[:, kept] = slices
    return volume.unsqueeze(0).movedim(1, 2 + axis)


def _apply(matrix: Tensor, positions: Tensor) -> Tensor:
    """Apply a (4, 4) matrix to positions (1, 3, *S)."""
    moved = torch.einsum("ij,bjxyz->bixyz", matrix[:3, :3], positions)
    return moved + matrix[:3, 3].reshape(1, 3, 1, 1, 1)


def voxel_matrix(fixed: Grid, moving: Grid, world: Tensor) -> Tensor:
    """Return A_m⁻¹ T A_f, (4, 4): fixed voxels to moving voxels."""
    return torch.linalg.solve(moving.affine, world @ fixed.affine)


def inside(positions: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Say which positions (B, 3, ...) a grid covers, as ITK counts: to half a voxel beyond outer centres."""
    limits = torch.tensor(shape, dtype=positions.dtype).reshape(1, -1, *[1] * (positions.ndim - 2))
    return ((positions >= -0.5) & (positions <= limits - 0.5)).all(1, keepdim=True)
