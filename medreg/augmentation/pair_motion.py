"""What belongs to the images of a pair, moved as they are: label maps, masks and key points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from medreg.augmentation.chain import Parameters
from medreg.geometry.grid import identity_grid
from medreg.geometry.warp import sample, warp_labels

if TYPE_CHECKING:
    from medreg.augmentation.member import Member

MAPS = ("fixed_label", "moving_label", "fixed_mask", "moving_mask")
POINTS = ("fixed_keypoints", "moving_keypoints", "fixed_more_keypoints", "moving_more_keypoints")
LOST = ("displacement",)  # the true motion of the pair as it was


@dataclass(frozen=True)
class PairMotion:
    """T of every pair, the geometric part of a chain; an image moved is I ∘ T.

    Attributes:
        members: that move voxels, first to last.
        parameters: theirs, (N, …) each.
    """

    members: tuple[Member, ...]
    parameters: Parameters

    def carry(self, values: Tensor) -> Tensor:
        """Values ∘ T of (N, C, *S), 0 from outside."""
        for member, phi in zip(self.members, self.parameters, strict=True):
            values = member.carry(values, phi)
        return values

    def invert(self, values: Tensor) -> Tensor:
        """Values ∘ T⁻¹ of (N, C, *S), 0 from outside."""
        for member, phi in zip(reversed(self.members), reversed(self.parameters), strict=True):
            values = member.invert(values, phi)
        return values

    @torch.no_grad()
    def batch(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """A batch of pairs whose label maps, masks and key points are moved; images and other keys stay.

        Labels and masks take the nearest voxel in one step, 0 beyond the field of view. Key points that leave the
        field of view are NaN. The true displacement is left out.

        Args:
            batch: of N pairs, see the batch contract.
        """
        found = {key: value for key, value in batch.items() if key not in LOST}
        if not self.members:
            return {**batch}
        grid = _with_ones(batch["fixed_image"])
        maps, points = ([key for key in keys if key in batch] for keys in (MAPS, POINTS))
        if maps:
            place, inside = _places(self.carry(grid))
            displacement = place - grid[:, :-1]
            for key in maps:
                found[key] = warp_labels(batch[key], displacement).masked_fill(~inside, 0)
        if points:
            back = self.invert(grid)
            for key in points:
                place, inside = _places(sample(back, batch[key].to(back), padding="zeros").mT)
                found[key] = place.masked_fill(~inside, torch.nan).mT.to(batch[key])
        return found


def _with_ones(image: Tensor) -> Tensor:
    """(N, D + 1, *S) coordinates of every voxel, and 1."""
    grid = identity_grid(image.shape[2:], device=image.device).expand(len(image), -1, *image.shape[2:])
    return torch.cat((grid, torch.ones_like(grid[:, :1])), 1)


def _places(moved: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates (N, D, …), and whether they lie in the field of view (N, 1, …).

    What enters the field of view is 0 in coordinates as in images. The ones say how much of a voxel that is, so that
    it can be taken out again.
    """
    share = moved[:, -1:]
    inside = share > 0.5
    return moved[:, :-1] / torch.where(inside, share, 1.0), inside
