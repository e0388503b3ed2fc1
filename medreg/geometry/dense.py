"""Dense displacement: one vector a voxel."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from medreg.geometry.compose import resize_displacement
from medreg.geometry.transformation import Deformation, Transformation


class Dense(Transformation):
    """φ_θ(x) = x + θ(x), θ (B, D, *S) in voxels; the regulariser sees θ."""

    def parameter_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """(D, *S)."""
        return (len(shape), *shape)

    def forward(self, theta: Tensor, shape: Sequence[int]) -> Deformation:
        """The parameters are the displacement (B, D, *S), voxels."""
        return Deformation(displacement=theta, regularised=theta)

    def resample(self, theta: Tensor, old_shape: Sequence[int], new_shape: Sequence[int]) -> Tensor:
        """Linear interpolation, lengths in voxels of the new grid."""
        return resize_displacement(theta, new_shape)

    def restrict(self, field: Tensor, shape: Sequence[int]) -> Tensor:
        """The field itself (B, D, *S)."""
        return field
