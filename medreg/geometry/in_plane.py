"""One 2-D transformation for all slices of a volume: nothing moves across them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medreg.geometry.pair_transform import from_slices, to_slices
from medreg.geometry.transformation import Deformation, Transformation


class InPlane(Transformation):
    """A transformation of the plane, the same in every slice of a stack.

    A stack of thick slices has no detail across them, so a rotation out of the plane or a stretch along the normal
    would be guessed. θ is that of the plane's transformation.

    Args:
        plane: the 2-D transformation.
        axis: axis across slices.
    """

    def __init__(self, plane: Transformation, *, axis: int) -> None:
        super().__init__()
        self.plane, self.axis = plane, axis

    def parameter_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """That of the plane."""
        return self.plane.parameter_shape(self._in_plane(shape))

    def forward(self, theta: Tensor, shape: Sequence[int]) -> Deformation:
        """Displacement (B, 3, *S), voxels, zero across slices."""
        found = self.plane(theta, self._in_plane(shape)).displacement
        displacement = self._stacked(found, shape)
        return Deformation(displacement=displacement, regularised=displacement)

    def inverse(self, theta: Tensor, shape: Sequence[int]) -> Tensor:
        """Displacement of the inverse (B, 3, *S), voxels."""
        return self._stacked(self.plane.inverse(theta, self._in_plane(shape)), shape)

    def resample(self, theta: Tensor, old_shape: Sequence[int], new_shape: Sequence[int]) -> Tensor:
        """The same map in voxels of the new grid."""
        return self.plane.resample(theta, self._in_plane(old_shape), self._in_plane(new_shape))

    def restrict(self, field: Tensor, shape: Sequence[int]) -> Tensor:
        """Parameters closest to the mean over slices of a field (B, 3, *S)."""
        mean = field.mean(2 + self.axis, keepdim=True)
        parts = [to_slices(one.unsqueeze(0), self.axis) for one in mean]
        return self.plane.restrict(torch.cat(parts), self._in_plane(shape))

    def project(self, theta: Tensor) -> Tensor:
        """What the plane allows."""
        return self.plane.project(theta)

    def _in_plane(self, shape: Sequence[int]) -> tuple[int, ...]:
        return tuple(size for axis, size in enumerate(shape) if axis != self.axis)

    def _stacked(self, plane: Tensor, shape: Sequence[int]) -> Tensor:
        """In-plane displacements (B, 2, A, C) in every slice, (B, 3, *S)."""
        depth = shape[self.axis]
        return torch.cat([from_slices(one.expand(depth, *one.shape), self.axis) for one in plane])
