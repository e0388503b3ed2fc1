"""Affine maps of bounded rotation, scale and shift about the centre of the image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from medreg.augmentation.geometric import Geometric
from medreg.augmentation.member import as_axes, like, per_axis
from medreg.augmentation.random_convolution import uniform
from medreg.errors import ConfigError, require_choice, require_number
from medreg.geometry.affine_distance import half_extents
from medreg.geometry.affine_pose import pose_matrix, turns_of, unit_to_voxel
from medreg.geometry.grid import matrix_to_displacement

Coordinates = Literal["physical", "normalised"]


@dataclass(frozen=True, kw_only=True)
class AffineMap(Geometric):
    """Map from the grid of the result to the image, x ↦ A x + t with A = R(r) diag(1 + s).

    φ (N, P) with |φ| ≤ 1 is, in units of the limits, one rotation, D scales and D shifts in 2-D (P = 5), three
    rotations R = R_x R_y R_z, three scales, three shifts in 3-D (P = 9). A rotation is positive from axis 0 to axis 1;
    a scale above 1 shows objects smaller. Beyond ±1 φ is clipped, so that its gradient is zero there.

    The release's φ = (r, s_x, s_y, t_x, t_y) of an array (H, W) is (−r, s_y, s_x, t_y, t_x) here; in 3-D each of its
    three groups is reversed and rotations change sign.

    Attributes:
        rotation_deg: largest rotation, degrees: one number, or three in 3-D, about axes 0, 1 and 2.
        scale: largest relative change of scale, below 1: one number or one an axis.
        shift: largest shift, half-extents of the image along each axis (0.1 is 9.55 voxels of 192): one number or one
            an axis.
        coordinates: in which A is composed. "physical": a rotation is one whatever the size of the image.
            "normalised": in half-extents, so that it shears where axes differ in length (release).
        spacing_mm: of the images along each axis, only ratios matter; None for isotropic voxels.
        xi: length of every entry of φ at which a power iteration takes its gradient.
    """

    rotation_deg: float | Sequence[float]
    scale: float | Sequence[float]
    shift: float | Sequence[float]
    coordinates: Coordinates = "physical"
    spacing_mm: Sequence[float] | None = None
    xi: float

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("rotation_deg", "scale", "shift"):
            object.__setattr__(self, name, as_axes(f"affine.{name}", getattr(self, name)))
        if self.spacing_mm is not None:
            object.__setattr__(self, "spacing_mm", as_axes("affine.spacing_mm", self.spacing_mm, low=1e-6))
        scales = self.scale if isinstance(self.scale, Sequence) else (self.scale,)
        if max(scales) >= 1:
            raise ConfigError(
                f"affine.scale is {self.scale}; a scale of 1 − s must stay positive, give numbers below 1."
            )
        require_choice("affine.coordinates", self.coordinates, ("physical", "normalised"))
        require_number("affine.xi", self.xi, above=0)

    @classmethod
    def paper(cls, ndim: int = 2, **changes: Any) -> AffineMap:
        """15°, scale 0.2, shift 0.1 in 2-D (Chen et al. 2022, experiment script); the release's example in 3-D."""
        if ndim == 3:
            return cls.release(3, **changes)
        return replace(cls(rotation_deg=15.0, scale=0.2, shift=0.1, xi=1e-6), **changes)

    @classmethod
    def release(cls, ndim: int = 2, **changes: Any) -> AffineMap:
        """The setting of the released examples (ed5cd70): 30°, scale 0.2, shift 0.1; 10°, 0.1, 0.1 in 3-D."""
        angle, scale = (30.0, 0.2) if ndim == 2 else (10.0, 0.1)
        return replace(cls(rotation_deg=angle, scale=scale, shift=0.1, xi=1e-6), **changes)

    def draw(self, image: Tensor, *, generator: torch.Generator) -> Tensor:
        """Uniform within the limits, (N, P)."""
        return like(2 * uniform((len(image), _entries(image.ndim - 2)), generator) - 1, image)

    def identity(self, image: Tensor) -> Tensor:
        """Zeros (N, P)."""
        return like(image.new_zeros(len(image), _entries(image.ndim - 2)), image)

    def project(self, parameters: Tensor) -> Tensor:
        """Every entry between −1 and 1."""
        return parameters.clamp(-1, 1)

    def ascend(self, parameters: Tensor, gradient: Tensor, *, step: float) -> Tensor:
        """One step along the signs of the gradient, φ + step·sign g."""
        return parameters + step * gradient.sign()

    def nearby(self, parameters: Tensor) -> Tensor:
        """The signs of φ times ξ."""
        return self.xi * parameters.sign()

    def probe(self, parameters: Tensor, gradient: Tensor) -> Tensor:
        """The signs of the gradient: a corner of the limits."""
        return gradient.sign()

    def matrix(self, parameters: Tensor, shape: Sequence[int]) -> Tensor:
        """[A | t] (N, D, D+1) in unit coordinates, half-extents from the centre of an image of size S."""
        ndim = len(shape)
        turns = turns_of(ndim)
        angle, scale, shift = (self._limits(parameters, ndim) * parameters.clamp(-1, 1)).split(
            [turns, ndim, ndim], 1
        )
        pose = torch.cat([angle, shift, scale.log1p(), torch.zeros_like(angle)], 1)
        with _exact(pose):
            return pose_matrix(pose, self._half(pose, shape))

    def displacement(self, parameters: Tensor, shape: Sequence[int]) -> Tensor:
        """Displacement of the map (N, D, *S), voxels."""
        with _exact(parameters):
            return _displacement(self.matrix(parameters, shape), shape)

    def inverse_displacement(self, parameters: Tensor, shape: Sequence[int]) -> Tensor:
        """Displacement of the exact inverse (N, D, *S), voxels."""
        with _exact(parameters):
            return _displacement(inverse(self.matrix(parameters, shape)), shape)

    def _half(self, like: Tensor, shape: Sequence[int]) -> Tensor:
        """(D,) lengths in which a rotation is one."""
        if self.coordinates == "normalised":
            return like.new_ones(len(shape))
        spacing = self.spacing_mm
        if spacing is not None:
            spacing = per_axis("affine.spacing_mm", spacing, len(shape))
        return half_extents(shape, spacing_mm=spacing, dtype=like.dtype, device=like.device)

    def _limits(self, like: Tensor, ndim: int) -> Tensor:
        """(P,) radians, relative scales, half-extents."""
        angles = per_axis("affine.rotation_deg", self.rotation_deg, turns_of(ndim))
        rest = [*per_axis("affine.scale", self.scale, ndim), *per_axis("affine.shift", self.shift, ndim)]
        return like.new_tensor([*map(math.radians, angles), *rest])


def inverse(matrix: Tensor) -> Tensor:
    """[A | t] (N, D, D+1) of the inverse map, [A⁻¹ | −A⁻¹ t]."""
    ndim = matrix.shape[1]
    linear = torch.linalg.inv(matrix[..., :ndim])
    return torch.cat([linear, -linear @ matrix[..., ndim:]], 2)


def _displacement(matrix: Tensor, shape: Sequence[int]) -> Tensor:
    return matrix_to_displacement(unit_to_voxel(matrix, shape), shape)


def _exact(like: Tensor) -> torch.autocast:
    """Products of matrices keep their precision under autocast: in half of it they are wrong by voxels."""
    return torch.autocast(like.device.type, enabled=False)


def _entries(ndim: int) -> int:
    """Entries P of φ."""
    return turns_of(ndim) + 2 * ndim
