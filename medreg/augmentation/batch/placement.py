"""Random placements: rotation, scale, shift, turns and flips about the centre of an image, as one affine map."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from medreg.augmentation.batch.base import numbers_between, require_probability, require_range
from medreg.augmentation.random_convolution import uniform
from medreg.errors import ConfigError, require_number
from medreg.geometry.affine_distance import compose_matrices, half_extents
from medreg.geometry.affine_pose import pose_matrix, turns_of, unit_to_voxel


@dataclass(frozen=True)
class RandomPlacement:
    """A distribution of affine maps F ∘ A ∘ T, from the voxels of the result to those of the image.

    F flips axes, A rotates, scales and shifts, T turns by one of a few angles: the order of the release, where images
    are flipped first and turned last. A scale below 1 enlarges what is seen, because the map is a pull.

    Attributes:
        rotation: degrees, half width of the range.
        scale: least and most, drawn for each axis.
        shift: half width of the range, share of the side of an axis.
        turns: degrees, of which every sample takes one; empty for none.
        flip: probability with which an axis is reversed, each by itself.
        across: in 3-D, whether anything moves across the slices, the last axis. Rotations out of the plane need
            isotropic voxels; thick slices need false.
    """

    rotation: float
    scale: Sequence[float]
    shift: float
    turns: Sequence[float]
    flip: float
    across: bool

    def __post_init__(self) -> None:
        require_number("placement.rotation", self.rotation, least=0.0)
        require_range("placement.scale", self.scale, above=0.0)
        require_number("placement.shift", self.shift, least=0.0)
        require_probability("placement.flip", self.flip)
        if isinstance(self.turns, str) or not all(math.isfinite(angle) for angle in self.turns):
            raise ConfigError(f"placement.turns is {self.turns!r}; give a list of degrees, [] for none.")

    def __call__(self, like: Tensor, shape: Sequence[int], *, generator: torch.Generator) -> Tensor:
        """Return a map for every sample.

        Args:
            like: (N, …), whose number, device and precision the maps have.
            shape: size S of the grid about whose centre they turn.
            generator: source of chance.

        Returns:
            (N, D+1, D+1), homogeneous, voxels.
        """
        half = half_extents(shape, dtype=like.dtype, device=like.device)
        maps = pose_matrix(self._affine(like, len(shape), generator), half)
        if len(self.turns):
            maps = compose_matrices(maps, pose_matrix(self._turn(like, len(shape), generator), half))
        return unit_to_voxel(maps * self._signs(like, len(shape), generator), shape)

    def _free(self, ndim: int) -> int:
        """Axes along which anything moves: the first ones."""
        return ndim if self.across else 2

    def _affine(self, like: Tensor, ndim: int, generator: torch.Generator) -> Tensor:
        """(N, P) pose of A; the last angle is that of the plane of the first two axes."""
        count, free, turns = len(like), self._free(ndim), turns_of(ndim)
        tilts = turns if free == ndim else 1
        most, rest = math.radians(self.rotation), ndim - free
        angles = numbers_between((-most, most), (count, tilts), generator=generator, like=like)
        # Half-extents are half a side
        reach = 2 * self.shift
        shift = numbers_between((-reach, reach), (count, free), generator=generator, like=like)
        scale = numbers_between(self.scale, (count, free), generator=generator, like=like).log()
        parts = [F.pad(angles, (turns - tilts, 0)), F.pad(shift, (0, rest)), F.pad(scale, (0, rest))]
        return torch.cat([*parts, like.new_zeros(count, turns)], 1)

    def _turn(self, like: Tensor, ndim: int, generator: torch.Generator) -> Tensor:
        """(N, P) pose of T: about the normal of the plane, or in 3-D about one of three axes."""
        count, turns = len(like), turns_of(ndim)
        degrees = like.new_tensor([float(angle) for angle in self.turns])
        which = (uniform((count,), generator) * len(degrees)).long().to(like.device)
        tilts = turns if self._free(ndim) == ndim else 1
        axis = (turns - 1 - (uniform((count,), generator) * tilts).long()).to(like.device)
        angle = F.one_hot(axis, turns) * degrees.deg2rad()[which].unsqueeze(1)
        return F.pad(angle, (0, 2 * ndim + turns))

    def _signs(self, like: Tensor, ndim: int, generator: torch.Generator) -> Tensor:
        """(N, D, 1), −1 for a reversed axis."""
        free = self._free(ndim)
        flipped = uniform((len(like), free), generator).to(like.device) < self.flip
        signs = 1 - 2 * flipped.to(like)
        return F.pad(signs, (0, ndim - free), value=1.0).unsqueeze(2)
