"""Affine maps by rotation, translation, scale and shear, about the image centre: p = (r, t, s, q).

Unlike the entries of the matrix, these can be drawn, bounded and reported. Lengths are half-extents of the image, so
a pose means the same on every level of a pyramid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medreg.geometry.affine import Affine, affine_matrix
from medreg.geometry.affine_distance import half_extents
from medreg.geometry.grid import matrix_to_displacement
from medreg.geometry.transformation import Deformation, Transformation


@dataclass(frozen=True)
class PoseRange:
    """One number per kind of motion: the half width of a range, or the length of a step.

    Attributes:
        rotation: radians, each axis of rotation.
        translation: half-extents of the image, each axis.
        scale: logarithm of the scale, each axis.
        shear: each entry of the unit upper-triangular shear.
    """

    rotation: float
    translation: float
    scale: float
    shear: float

    def vector(self, ndim: int, *, like: Tensor) -> Tensor:
        """(P,) the number of every entry of a pose."""
        turns = turns_of(ndim)
        values = [self.rotation] * turns + [self.translation] * ndim + [self.scale] * ndim
        return like.new_tensor(values + [self.shear] * turns)


def turns_of(ndim: int) -> int:
    """Angles of a rotation, and entries of a shear: 1 in 2-D, 3 in 3-D."""
    return ndim * (ndim - 1) // 2


def pose_matrix(pose: Tensor, half_extents: Tensor) -> Tensor:
    """Matrix of a pose, A = H⁻¹ R(r) Sh(q) diag(exp s) H, in unit coordinates.

    In 2-D r is one angle, positive from axis 0 to axis 1; in 3-D R = R_x R_y R_z. Sh is unit upper triangular.
    Composing in physical space keeps a rotation a rotation where axes differ in length; t is in half-extents.

    Args:
        pose: (B, 6) in 2-D, (B, 12) in 3-D: r, t, s, q.
        half_extents: H = diag(h), h (D,) or (B, D), mm or voxels; only ratios matter.

    Returns:
        (B, D, D+1), [A | t].
    """
    ndim = half_extents.shape[-1]
    turns = turns_of(ndim)
    angles, shift, scale, shear = pose.split([turns, ndim, ndim, turns], dim=1)
    rotation = _rotation(angles)
    upper = _unit_upper(shear, ndim) * scale.exp().unsqueeze(1)
    half = half_extents.to(pose)
    linear = (rotation @ upper) * half.unsqueeze(-2) / half.unsqueeze(-1)
    return torch.cat([linear, shift.unsqueeze(2)], 2)


def matrix_pose(matrix: Tensor, half_extents: Tensor) -> Tensor:
    """Pose of a matrix, the inverse of `pose_matrix`, by an orthogonal-triangular factorisation.

    Unique for maps without reflection, in 3-D for second angles within a quarter turn.

    Args:
        matrix: (B, D, D+1), [A | t], unit coordinates, det A > 0.
        half_extents: h (D,) or (B, D).

    Returns:
        (B, 6) or (B, 12).
    """
    ndim = matrix.shape[1]
    half = half_extents.to(matrix)
    physical = matrix[..., :ndim] * half.unsqueeze(-1) / half.unsqueeze(-2)
    rotation, upper = torch.linalg.qr(physical)
    signs = upper.diagonal(dim1=1, dim2=2).sign()
    rotation, upper = rotation * signs.unsqueeze(1), upper * signs.unsqueeze(2)
    scale = upper.diagonal(dim1=1, dim2=2)
    unit = upper / scale.unsqueeze(1)
    rows, columns = torch.triu_indices(ndim, ndim, 1)
    return torch.cat([_angles(rotation), matrix[..., ndim], scale.log(), unit[:, rows, columns]], 1)


def unit_to_voxel(matrix: Tensor, shape: Sequence[int]) -> Tensor:
    """Homogeneous voxel matrix (B, D+1, D+1) of a matrix (B, D, D+1) of unit coordinates, for a grid of size S."""
    half = half_extents(shape, dtype=matrix.dtype, device=matrix.device)
    ndim = len(shape)
    centre = matrix.new_tensor([(size - 1) / 2 for size in shape])
    linear = matrix[..., :ndim] * half.unsqueeze(1) / half
    shift = matrix[..., ndim] * half + centre - linear @ centre
    bottom = matrix.new_zeros(matrix.shape[0], 1, ndim + 1)
    bottom[..., ndim] = 1
    return torch.cat([torch.cat([linear, shift.unsqueeze(2)], 2), bottom], 1)


def voxel_to_unit(matrix: Tensor, shape: Sequence[int]) -> Tensor:
    """Undo `unit_to_voxel`: (B, D+1, D+1) voxels to (B, D, D+1) unit coordinates."""
    half = half_extents(shape, dtype=matrix.dtype, device=matrix.device)
    ndim = len(shape)
    centre = matrix.new_tensor([(size - 1) / 2 for size in shape])
    linear = matrix[:, :ndim, :ndim]
    shift = (matrix[:, :ndim, ndim] - centre + linear @ centre) / half
    return torch.cat([linear * half / half.unsqueeze(1), shift.unsqueeze(2)], 2)


class AffinePose(Transformation):
    """Affine map by rotation, translation, scale and shear, θ (B, 6) in 2-D and (B, 12) in 3-D.

    θ = p / step: one step size of the optimiser turns by `steps.rotation` radians where it stretches by
    `steps.scale`. Resampling leaves θ alone, as grids share their corners.

    Args:
        steps: what a unit of θ is worth in every kind of motion (configs/transformation/pose.yaml).
        box: largest magnitude of every kind of motion, to which an optimiser is held; None for none.
        spacing_mm: spacing of the images along each axis; only its ratios matter. None means isotropic voxels.
    """

    def __init__(
        self,
        *,
        steps: PoseRange,
        box: PoseRange | None = None,
        spacing_mm: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.steps, self.box = steps, box
        self.spacing_mm = None if spacing_mm is None else tuple(float(value) for value in spacing_mm)

    def extra_repr(self) -> str:
        """Settings for printing."""
        return f"steps={self.steps}, box={self.box}, spacing_mm={self.spacing_mm}"

    def parameter_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """(6,) in 2-D and (12,) in 3-D."""
        return (len(shape) * (len(shape) + 1),)

    def pose(self, theta: Tensor) -> Tensor:
        """Rotation, translation, scale and shear of θ, (B, P): radians, half-extents, logarithms, numbers."""
        return theta * self._steps(theta)

    def project(self, theta: Tensor) -> Tensor:
        """Bring every entry of the pose into the box."""
        if self.box is None:
            return theta
        limit = self.box.vector(_ndim(theta), like=theta) / self._steps(theta)
        return theta.clamp(-limit, limit)

    def matrix(self, theta: Tensor, shape: Sequence[int]) -> Tensor:
        """(B, D, D+1) in unit coordinates of the grid."""
        return pose_matrix(self.pose(theta), self._half(theta, shape))

    def forward(self, theta: Tensor, shape: Sequence[int]) -> Deformation:
        """Displacement of the map (B, D, *S), voxels."""
        displacement = matrix_to_displacement(unit_to_voxel(self.matrix(theta, shape), shape), shape)
        return Deformation(displacement=displacement, regularised=displacement)

    def inverse(self, theta: Tensor, shape: Sequence[int]) -> Tensor:
        """Displacement of the inverse map (B, D, *S), voxels."""
        voxels = unit_to_voxel(self.matrix(theta, shape), shape)
        return matrix_to_displacement(torch.linalg.inv(voxels), shape)

    def resample(self, theta: Tensor, old_shape: Sequence[int], new_shape: Sequence[int]) -> Tensor:
        """The same numbers: half-extents and angles do not count voxels."""
        return theta

    def restrict(self, field: Tensor, shape: Sequence[int]) -> Tensor:
        """Pose of the least-squares affine map of a field (B, D, *S)."""
        voxels = affine_matrix(Affine().restrict(field, shape), shape)
        pose = matrix_pose(voxel_to_unit(voxels, shape), self._half(field, shape))
        return pose / self._steps(pose)

    def _steps(self, theta: Tensor) -> Tensor:
        return self.steps.vector(_ndim(theta), like=theta)

    def _half(self, like: Tensor, shape: Sequence[int]) -> Tensor:
        return half_extents(shape, spacing_mm=self.spacing_mm, dtype=like.dtype, device=like.device)


def _ndim(pose: Tensor) -> int:
    return 2 if pose.shape[1] == 6 else 3


def _rotation(angles: Tensor) -> Tensor:
    """(B, D, D) from one angle (B, 1), or R_x R_y R_z from three (B, 3)."""
    cosines, sines = angles.cos(), angles.sin()
    if angles.shape[1] == 1:
        rows = [cosines, -sines, sines, cosines]
        return torch.cat(rows, 1).unflatten(1, (2, 2))
    (cx, cy, cz), (sx, sy, sz) = cosines.unbind(1), sines.unbind(1)
    rows = [
        cy * cz, -cy * sz, sy,
        cx * sz + sx * sy * cz, cx * cz - sx * sy * sz, -sx * cy,
        sx * sz - cx * sy * cz, sx * cz + cx * sy * sz, cx * cy,
    ]  # fmt: skip
    return torch.stack(rows, 1).unflatten(1, (3, 3))


def _angles(rotation: Tensor) -> Tensor:
    """Angles (B, 1) or (B, 3) of `_rotation`."""
    if rotation.shape[-1] == 2:
        return torch.atan2(rotation[:, 1, 0], rotation[:, 0, 0]).unsqueeze(1)
    first = torch.atan2(-rotation[:, 1, 2], rotation[:, 2, 2])
    second = torch.atan2(rotation[:, 0, 2], torch.hypot(rotation[:, 0, 0], rotation[:, 0, 1]))
    third = torch.atan2(-rotation[:, 0, 1], rotation[:, 0, 0])
    return torch.stack([first, second, third], 1)


def _unit_upper(shear: Tensor, ndim: int) -> Tensor:
    """(B, D, D) unit upper-triangular matrix of the entries above its diagonal, row by row."""
    rows, columns = torch.triu_indices(ndim, ndim, 1).to(shear.device)
    matrix = torch.eye(ndim, dtype=shear.dtype, device=shear.device).repeat(shear.shape[0], 1, 1)
    return matrix.index_put(
        (torch.arange(shear.shape[0], device=shear.device).unsqueeze(1), rows, columns), shear
    )
