"""What a transformation is: parameters in, a deformation of the voxel grid out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from medreg.geometry.compose import invert


@dataclass(frozen=True, eq=False)
class Deformation:
    """A transformation evaluated on the fixed grid.

    Attributes:
        displacement: u (B, D, *S), voxels of the fixed grid; φ(x) = x + u(x).
        regularised: (B, D, *S), voxels: the field that the regulariser sees, the velocity of a velocity
            parametrisation and u otherwise.
    """

    displacement: Tensor
    regularised: Tensor


class Transformation(nn.Module, ABC):
    """Family φ_θ of maps of the fixed grid into the moving image.

    Parameters θ are (B, *parameter_shape(shape)). The object holds no tensors: it works for 2-D and 3-D,
    any size, dtype and device, and takes the dimension from the shape.
    """

    @abstractmethod
    def parameter_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Size of the parameters of one sample for images of a spatial size.

        Args:
            shape: spatial size S of the fixed grid.

        Returns:
            (channels, *grid); transformations without a grid have one number, the length of their vector.
        """

    @abstractmethod
    def forward(self, theta: Tensor, shape: Sequence[int]) -> Deformation:
        """Evaluate the transformation on the fixed grid.

        Args:
            theta: (B, *parameter_shape(shape)).
            shape: spatial size S of the fixed grid.

        Returns:
            The deformation, fields (B, D, *S) in voxels.
        """

    @abstractmethod
    def resample(self, theta: Tensor, old_shape: Sequence[int], new_shape: Sequence[int]) -> Tensor:
        """Parameters of the same transformation on a grid of another size with common corners.

        Args:
            theta: (B, *parameter_shape(old_shape)).
            old_shape: spatial size that theta belongs to.
            new_shape: spatial size wanted.

        Returns:
            (B, *parameter_shape(new_shape)), lengths in voxels of the new grid.
        """

    @abstractmethod
    def restrict(self, field: Tensor, shape: Sequence[int]) -> Tensor:
        """Parameters whose field comes closest to a dense vector field.

        Args:
            field: (B, D, *S), voxels: the velocity for velocity parametrisations, u otherwise.
            shape: spatial size S.

        Returns:
            (B, *parameter_shape(shape)).
        """

    def identity(
        self,
        batch_size: int,
        shape: Sequence[int],
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Parameters of the identity map, which are zero in every family.

        Args:
            batch_size: number of samples B.
            shape: spatial size S.
            dtype: floating type.
            device: where the parameters live.

        Returns:
            (B, *parameter_shape(shape)).
        """
        return torch.zeros(batch_size, *self.parameter_shape(shape), dtype=dtype, device=device)

    def project(self, theta: Tensor) -> Tensor:
        """Nearest parameters that the family allows; all are allowed, unless a family says otherwise.

        Args:
            theta: (B, *parameter_shape(shape)).

        Returns:
            The same shape.
        """
        return theta

    def inverse(self, theta: Tensor, shape: Sequence[int]) -> Tensor:
        """Displacement of φ⁻¹; by fixed-point iteration unless the family knows better.

        Args:
            theta: (B, *parameter_shape(shape)).
            shape: spatial size S.

        Returns:
            (B, D, *S), voxels.
        """
        return invert(self(theta, shape).displacement).displacement
