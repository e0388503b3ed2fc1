"""Operations that move voxels, for RandAugment."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medreg.augmentation.batch.labelled_warp import warp_labelled
from medreg.augmentation.batch.operations import Operation
from medreg.errors import ConfigError, require_number, require_whole
from medreg.geometry.affine_distance import half_extents
from medreg.geometry.affine_pose import unit_to_voxel
from medreg.geometry.grid import matrix_to_displacement


class Motion(Operation):
    """An affine map about the centre, by which images and targets move."""

    def __call__(self, image: Tensor, target: Tensor, strength: Tensor) -> tuple[Tensor, Tensor]:
        """Warp both; black and background come in from outside."""
        shape = tuple(image.shape[2:])
        half = half_extents(shape, dtype=strength.dtype, device=strength.device)
        linear, shift = self.map(strength, shape)
        unit = torch.cat([linear * half / half.unsqueeze(1), (shift / half).unsqueeze(2)], 2)
        return warp_labelled(image, target, matrix_to_displacement(unit_to_voxel(unit, shape), shape))

    @abstractmethod
    def map(self, strength: Tensor, shape: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Matrices (N, D, D) and shifts (N, D), both of voxels about the centre, of the result to the image."""


@dataclass(frozen=True)
class Translate(Motion):
    """Along one axis.

    Attributes:
        axis: which.
        most: at full strength, share of the side.
    """

    axis: int
    most: float

    def __post_init__(self) -> None:
        require_whole("translate.axis", self.axis, 0)
        require_number("translate.most", self.most, above=0.0)

    def map(self, strength: Tensor, shape: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The identity and a shift."""
        require_axes("translate.axis", (self.axis,), shape)
        linear, shift = still(strength, len(shape))
        shift[:, self.axis] = self.most * shape[self.axis] * strength
        return linear, shift


@dataclass(frozen=True)
class Shear(Motion):
    """Along one axis, in proportion to the place on another.

    Attributes:
        along: axis of the motion.
        by: axis on whose coordinate it depends.
        most: at full strength, voxels for each voxel.
    """

    along: int
    by: int
    most: float

    def __post_init__(self) -> None:
        require_whole("shear.along", self.along, 0)
        require_whole("shear.by", self.by, 0)
        require_number("shear.most", self.most, above=0.0)

    def map(self, strength: Tensor, shape: Sequence[int]) -> tuple[Tensor, Tensor]:
        """A unit matrix with one entry beside its diagonal."""
        require_axes("shear.along and shear.by", (self.along, self.by), shape)
        linear, shift = still(strength, len(shape))
        linear[:, self.along, self.by] = self.most * strength
        return linear, shift


@dataclass(frozen=True)
class Rotate(Motion):
    """In the plane of two axes.

    Attributes:
        plane: the two axes; positive angles turn the first to the second.
        most: at full strength, degrees.
    """

    plane: Sequence[int]
    most: float

    def __post_init__(self) -> None:
        if isinstance(self.plane, str) or len(self.plane) != 2:
            raise ConfigError(f"rotate.plane is {self.plane!r}; give two axes, such as [0, 1].")
        for axis in self.plane:
            require_whole("rotate.plane", axis, 0)
        require_number("rotate.most", self.most, above=0.0)

    def map(self, strength: Tensor, shape: Sequence[int]) -> tuple[Tensor, Tensor]:
        """A rotation."""
        require_axes("rotate.plane", self.plane, shape)
        linear, shift = still(strength, len(shape))
        angle, (first, second) = math.radians(self.most) * strength, self.plane
        linear[:, first, first] = linear[:, second, second] = angle.cos()
        linear[:, first, second], linear[:, second, first] = -angle.sin(), angle.sin()
        return linear, shift


def still(strength: Tensor, ndim: int) -> tuple[Tensor, Tensor]:
    """Unit matrices (N, D, D) and shifts (N, D) of zeros, to be written into."""
    count = len(strength)
    linear = torch.eye(ndim, dtype=strength.dtype, device=strength.device).repeat(count, 1, 1)
    return linear, strength.new_zeros(count, ndim)


def require_axes(name: str, axes: Sequence[int], shape: Sequence[int]) -> None:
    """Refuse axes that an image has not, or one twice.

    Raises:
        ConfigError: names the option and the axes that there are.
    """
    if len(set(axes)) < len(axes) or max(axes) >= len(shape):
        raise ConfigError(f"{name} is {list(axes)}; give different axes from 0 to {len(shape) - 1}.")
