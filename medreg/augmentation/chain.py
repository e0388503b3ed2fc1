"""Several transformations, one after another, and the way back for what was predicted in between."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from medreg.augmentation.geometric import Geometric, moved
from medreg.augmentation.member import SAME, Member
from medreg.errors import ConfigError

Parameters = tuple[Tensor, ...]
_POOLS = {2: F.max_pool2d, 3: F.max_pool3d}


@dataclass(frozen=True)
class Chain:
    """T = T_m ∘ … ∘ T_1 in list order; predictions return by the inverses of its geometric part in reverse order.

    Chen et al., Enhancing MR Image Segmentation with Realistic Adversarial Data Augmentation, MedIA 2022.

    Attributes:
        members: transformations, first to last.
    """

    members: tuple[Member, ...]

    def __post_init__(self) -> None:
        if not self.members:
            raise ConfigError("A chain has no members; list at least one transformation of images.")

    @property
    def moves(self) -> bool:
        """Whether voxels move."""
        return any(member.geometric for member in self.members)

    def draw(self, image: Tensor, *, generator: torch.Generator) -> Parameters:
        """Random parameters of every member for images (N, C, *S)."""
        return tuple(member.draw(image, generator=generator) for member in self.members)

    def geometric(self, parameters: Parameters) -> tuple[tuple[Member, ...], Parameters]:
        """The members that move voxels, with their parameters."""
        pairs = [(m, p) for m, p in zip(self.members, parameters, strict=True) if m.geometric]
        return tuple(m for m, _ in pairs), tuple(p for _, p in pairs)

    def apply(self, image: Tensor, parameters: Parameters) -> Tensor:
        """T(image) for (N, C, *S)."""
        return self.carry(image, None, parameters)[0]

    def carry(
        self,
        image: Tensor,
        values: Tensor | None,
        parameters: Parameters,
        *,
        background: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """T(image), and values moved along by the geometric part at little more than the cost of one.

        Args:
            image: (N, C, *S).
            values: (N, K, *S), or None.
            parameters: of the members.
            background: (N, C, 1, …) intensity of the image that photometric members leave alone.
        """
        for member, phi in zip(self.members, parameters, strict=True):
            if values is not None and isinstance(member, Geometric):
                image, values = _together(member, image, values, phi)
                continue
            changed = member.apply(image, phi)
            if background is not None and not member.geometric:
                changed = torch.where((image.detach() - background).abs() < SAME, image, changed)
            image = changed
            values = None if values is None else member.carry(values, phi)
        return image, values

    def invert(self, values: Tensor, parameters: Parameters) -> Tensor:
        """Scores or masks (N, K, *S) of the transformed image, back in the frame of the clean one."""
        for member, phi in zip(reversed(self.members), reversed(parameters), strict=True):
            values = member.invert(values, phi)
        return values

    def mask(self, like: Tensor, parameters: Parameters, *, above: float = 0.0, margin: int = 0) -> Tensor:
        """Where a prediction can be compared: ones sent forward and back.

        Args:
            like: (N, K, *S).
            parameters: of the members.
            above: a voxel counts where more than this came back; 0 is the authors' rule, 0.999 a strict one.
            margin: voxels by which the region is eroded, beside it only (not along the border of the image).

        Returns:
            (N, 1, *S), 0 or 1, without a gradient.
        """
        with torch.no_grad():
            ones = torch.ones_like(like[:, :1])
            for member, phi in zip(self.members, parameters, strict=True):
                ones = member.carry(ones, phi)
            return seen(self.invert(ones, parameters), above=above, margin=margin)


def _together(member: Geometric, image: Tensor, values: Tensor, phi: Tensor) -> tuple[Tensor, Tensor]:
    """`apply` and `carry` with one displacement, and one warp where both are padded alike."""
    displacement = member.displacement(phi, image.shape[2:])
    outside = member.padding if member.pad_scores else "zeros"
    if outside != member.padding:
        return moved(image, displacement, member.padding), moved(values, displacement, outside)
    both = moved(torch.cat((image, values), 1), displacement, outside)
    return both[:, : image.shape[1]], both[:, image.shape[1] :]


def seen(returned: Tensor, *, above: float = 0.0, margin: int = 0) -> Tensor:
    """0 or 1 from ones that went forward and back (N, 1, *S), see `Chain.mask`."""
    outside = (returned.detach() <= above).to(returned)
    if margin:
        outside = _POOLS[outside.ndim - 2](outside, 2 * margin + 1, stride=1, padding=margin)
    return 1 - outside
