"""Affine and rigid transformations about the image centre, in voxels.

Parameters are scaled so that a unit of any of them moves the voxels of the image by one voxel in root mean
square: an optimiser with one step size treats translation, rotation and shear alike.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medreg.geometry.compose import resize_gain
from medreg.geometry.grid import matrix_to_displacement
from medreg.geometry.transformation import Deformation, Transformation


def affine_matrix(theta: Tensor, shape: Sequence[int]) -> Tensor:
    """Matrix of affine parameters, φ(x) = c + (I + L)(x − c) + t with L_ka = θ_ka / r_a.

    c is the centre of the image, r_a = √((S_a² − 1)/12) the root mean square distance of voxels from it
    along axis a.

    Args:
        theta: (B, D(D+1)), the D×D linear part row by row, then the translation t in voxels.
        shape: spatial size S.

    Returns:
        (B, D+1, D+1), homogeneous, voxels to voxels.
    """
    ndim = len(shape)
    linear = theta[:, : ndim * ndim].unflatten(1, (ndim, ndim)) / _radii(shape, theta)
    eye = torch.eye(ndim, dtype=theta.dtype, device=theta.device)
    return _about_centre(eye + linear, theta[:, ndim * ndim :], shape)


def affine_parameters(matrix: Tensor, shape: Sequence[int]) -> Tensor:
    """Undo `affine_matrix`.

    Args:
        matrix: (B, D+1, D+1), homogeneous, voxels to voxels.
        shape: spatial size S.

    Returns:
        (B, D(D+1)).
    """
    ndim = len(shape)
    centre = _centre(shape, matrix)
    linear = matrix[:, :ndim, :ndim] - torch.eye(ndim, dtype=matrix.dtype, device=matrix.device)
    shift = matrix[:, :ndim, ndim] + linear @ centre
    return torch.cat([(linear * _radii(shape, matrix)).flatten(1), shift], 1)


def rigid_matrix(theta: Tensor, shape: Sequence[int], *, spacing_mm: Sequence[float] | None = None) -> Tensor:
    """Matrix of rigid parameters, φ(x) = c + diag(s)⁻¹ R diag(s) (x − c) + t.

    R is the exponential of a rotation vector ω, ω_k = θ_k/ρ_k, ρ_k the root mean square distance of voxels
    from the axis of rotation k; in 2-D one angle, positive from axis 0 to axis 1.

    Args:
        theta: (B, 3) in 2-D, (B, 6) in 3-D: rotation, then the translation t in voxels.
        shape: spatial size S.
        spacing_mm: s, mm; only ratios matter. None means isotropic voxels.

    Returns:
        (B, D+1, D+1), homogeneous, voxels to voxels.
    """
    arms = _arms(shape, spacing_mm, theta)
    turns = len(arms)
    spacing = _spacing(shape, spacing_mm, theta)
    rotation = torch.linalg.matrix_exp(_skew(theta[:, :turns] / arms))
    return _about_centre(rotation * spacing / spacing.unsqueeze(1), theta[:, turns:], shape)


class Affine(Transformation):
    """Affine map about the image centre, θ (B, D(D+1)) as in `affine_matrix`; the regulariser sees u."""

    def parameter_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """(D(D+1),)."""
        return (len(shape) * (len(shape) + 1),)

    def forward(self, theta: Tensor, shape: Sequence[int]) -> Deformation:
        """Displacement of the matrix (B, D, *S), voxels."""
        return _deformation(affine_matrix(theta, shape), shape)

    def inverse(self, theta: Tensor, shape: Sequence[int]) -> Tensor:
        """Displacement of the inverse matrix (B, D, *S), voxels."""
        return matrix_to_displacement(torch.linalg.inv(affine_matrix(theta, shape)), shape)

    def resample(self, theta: Tensor, old_shape: Sequence[int], new_shape: Sequence[int]) -> Tensor:
        """The same map in voxels of the new grid (exact)."""
        return affine_parameters(_rescaled(affine_matrix(theta, old_shape), old_shape, new_shape), new_shape)

    def restrict(self, field: Tensor, shape: Sequence[int]) -> Tensor:
        """Least-squares affine map of a field (B, D, *S): a projection, as the parameters are orthonormal."""
        return torch.cat([_moments(field, shape).flatten(1), field.flatten(2).mean(2)], 1)


class Rigid(Transformation):
    """Rotation and translation about the image centre, θ (B, 3) or (B, 6) as in `rigid_matrix`.

    Args:
        spacing_mm: spacing of the images along each axis, needed for a rotation in the world when the voxels
            are anisotropic; only its ratios matter. None means isotropic voxels.
    """

    def __init__(self, *, spacing_mm: Sequence[float] | None = None) -> None:
        super().__init__()
        self.spacing_mm = None if spacing_mm is None else tuple(float(value) for value in spacing_mm)

    def extra_repr(self) -> str:
        """Settings for printing."""
        return f"spacing_mm={self.spacing_mm}"

    def parameter_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """(3,) in 2-D and (6,) in 3-D."""
        return (len(shape) * (len(shape) + 1) // 2,)

    def forward(self, theta: Tensor, shape: Sequence[int]) -> Deformation:
        """Displacement of the matrix (B, D, *S), voxels."""
        return _deformation(rigid_matrix(theta, shape, spacing_mm=self.spacing_mm), shape)

    def inverse(self, theta: Tensor, shape: Sequence[int]) -> Tensor:
        """Displacement of the inverse matrix (B, D, *S), voxels."""
        matrix = rigid_matrix(theta, shape, spacing_mm=self.spacing_mm)
        return matrix_to_displacement(torch.linalg.inv(matrix), shape)

    def resample(self, theta: Tensor, old_shape: Sequence[int], new_shape: Sequence[int]) -> Tensor:
        """The same angles, the translation in voxels of the new grid."""
        old = _arms(old_shape, self.spacing_mm, theta)
        new = _arms(new_shape, self.spacing_mm, theta)
        gains = theta.new_tensor(resize_gain(old_shape, new_shape))
        return torch.cat([theta[:, : len(old)] * new / old, theta[:, len(old) :] * gains], 1)

    def restrict(self, field: Tensor, shape: Sequence[int]) -> Tensor:
        """Least-squares rotation and translation of a field (B, D, *S), the Procrustes solution."""
        spacing = _spacing(shape, self.spacing_mm, field)
        radii = _radii(shape, field)
        # Covariance in mm of the moved with the original voxel positions about their centres
        moved = torch.diag(radii) + _moments(field, shape)
        covariance = moved * radii * spacing * spacing.unsqueeze(1)
        left, _, right = torch.linalg.svd(covariance)
        signs = torch.ones_like(left[:, 0])
        signs[:, -1] = torch.linalg.det(left @ right).sign()
        angles = _rotation_vector((left * signs.unsqueeze(1)) @ right)
        return torch.cat([angles * _arms(shape, self.spacing_mm, field), field.flatten(2).mean(2)], 1)


def _deformation(matrix: Tensor, shape: Sequence[int]) -> Deformation:
    displacement = matrix_to_displacement(matrix, shape)
    return Deformation(displacement=displacement, regularised=displacement)


def _centre(shape: Sequence[int], like: Tensor) -> Tensor:
    return like.new_tensor([(size - 1) / 2 for size in shape])


def _radii(shape: Sequence[int], like: Tensor) -> Tensor:
    """(D,) root mean square distance from the centre along each axis; 1 for an axis of one voxel."""
    return like.new_tensor([((size**2 - 1) / 12) ** 0.5 if size > 1 else 1.0 for size in shape])


def _spacing(shape: Sequence[int], spacing_mm: Sequence[float] | None, like: Tensor) -> Tensor:
    """(D,) spacing with a geometric mean of 1, so that arms are in typical voxels."""
    values = like.new_tensor([1.0] * len(shape) if spacing_mm is None else list(spacing_mm))
    if values.shape != (len(shape),):
        raise ValueError(
            f"a rigid map of {len(shape)}-D images needs {len(shape)} spacings, got {spacing_mm}"
        )
    return values / values.log().mean().exp()


def _arms(shape: Sequence[int], spacing_mm: Sequence[float] | None, like: Tensor) -> Tensor:
    """Root mean square distance of voxels from each axis of rotation, (1,) in 2-D and (3,) in 3-D."""
    squares = (_radii(shape, like) * _spacing(shape, spacing_mm, like)) ** 2
    return squares.sum().sqrt().reshape(1) if len(shape) == 2 else (squares.sum() - squares).sqrt()


def _skew(vector: Tensor) -> Tensor:
    """(B, D, D) generator of the rotation by a vector (B, 1) or (B, 3)."""
    zero = torch.zeros_like(vector[:, 0])
    if vector.shape[1] == 1:
        entries = [zero, -vector[:, 0], vector[:, 0], zero]
        return torch.stack(entries, 1).unflatten(1, (2, 2))
    x, y, z = vector.unbind(1)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], 1).unflatten(1, (3, 3))


def _rotation_vector(rotation: Tensor) -> Tensor:
    """Logarithm of rotations (B, D, D) by less than half a turn, the inverse of exp ∘ `_skew`."""
    if rotation.shape[-1] == 2:
        return torch.atan2(rotation[:, 1, 0], rotation[:, 0, 0]).unsqueeze(1)
    odd = rotation - rotation.mT
    axis = torch.stack([odd[:, 2, 1], odd[:, 0, 2], odd[:, 1, 0]], 1) / 2
    sine = axis.norm(dim=1, keepdim=True)
    trace = rotation.diagonal(dim1=1, dim2=2).sum(1, keepdim=True)
    angle = torch.atan2(sine, (trace - 1) / 2)
    tiny = torch.finfo(rotation.dtype).tiny
    return axis * torch.where(sine > tiny, angle / sine.clamp(min=tiny), torch.ones_like(sine))


def _about_centre(linear: Tensor, shift: Tensor, shape: Sequence[int]) -> Tensor:
    """Homogeneous matrix (B, D+1, D+1) of c + linear (x − c) + shift."""
    centre = _centre(shape, linear)
    offset = centre - linear @ centre + shift
    bottom = linear.new_zeros(linear.shape[0], 1, linear.shape[-1] + 1)
    bottom[:, :, -1] = 1
    return torch.cat([torch.cat([linear, offset.unsqueeze(2)], 2), bottom], 1)


def _rescaled(matrix: Tensor, old_shape: Sequence[int], new_shape: Sequence[int]) -> Tensor:
    gains = matrix.new_tensor([*resize_gain(old_shape, new_shape), 1.0])
    return matrix * gains.unsqueeze(1) / gains


def _moments(field: Tensor, shape: Sequence[int]) -> Tensor:
    """(B, D, D) mean of u_k times the normalised coordinate (x_a − c_a)/r_a."""
    centre, radii = _centre(shape, field), _radii(shape, field)
    columns = []
    for axis, size in enumerate(shape):
        others = [2 + other for other in range(len(shape)) if other != axis]
        profile = field.mean(others)
        steps = (torch.arange(size, dtype=field.dtype, device=field.device) - centre[axis]) / radii[axis]
        columns.append(profile @ steps / size)
    return torch.stack(columns, 2)
