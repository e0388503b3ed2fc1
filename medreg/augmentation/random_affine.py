"""Random poses in training ranges, small ones as frequent as large ones."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medreg.augmentation.random_convolution import uniform
from medreg.geometry.affine_pose import PoseRange, turns_of


@dataclass(frozen=True)
class RandomPose:
    """Poses p = (r, t, s, q), uniform in a box of random size: p = σ·v, v ~ U(−range, range), σ ~ U(0, 1) or 1.

    The common factor σ makes small misalignments frequent (ours); a share of the poses has σ = 1, without
    which rotations beyond half the range hardly occur and are not learned. A share of the poses is the identity: two
    appearances of one image whose distance is 0. Another share moves in one way only, because scale and shear hardly
    change the distance beside a rotation.

    Attributes:
        ranges: half widths of the box.
        full: share of poses with σ = 1.
        identity: share of poses that are exactly the identity.
        single: share of poses with one kind of motion only, rotation, translation, scale or shear.
    """

    ranges: PoseRange
    full: float
    identity: float
    single: float

    def __call__(self, count: int, *, ndim: int, generator: torch.Generator) -> Tensor:
        """Return so many poses, (count, 6) in 2-D and (count, 12) in 3-D, on the generator's device."""
        limits = self.ranges.vector(ndim, like=uniform((1,), generator))
        size = uniform((count, 1), generator)
        size = torch.where(uniform((count, 1), generator) < self.full, 1.0, size)
        pose = (2 * uniform((count, len(limits)), generator) - 1) * limits * size
        kinds = kinds_of(ndim).to(pose.device)
        kind = (uniform((count, 1), generator) * 4).long()
        alone = uniform((count, 1), generator) < self.single
        pose = torch.where(alone & (kinds != kind), 0.0, pose)
        still = uniform((count, 1), generator) < self.identity
        return pose.masked_fill(still, 0.0)


def kinds_of(ndim: int) -> Tensor:
    """(P,) kind of motion of every entry of a pose: 0 rotation, 1 translation, 2 scale, 3 shear."""
    turns = turns_of(ndim)
    return torch.tensor([0] * turns + [1] * ndim + [2] * ndim + [3] * turns)
