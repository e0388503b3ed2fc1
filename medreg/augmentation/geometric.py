"""What members that move voxels have in common: a warp of the image, of scores, and the way back."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from medreg.augmentation.member import Member, lowest
from medreg.errors import require_choice, require_number
from medreg.geometry.warp import warp

Outside = Literal["zeros", "border", "lowest"] | float


@dataclass(frozen=True, kw_only=True)
class Geometric(Member):
    """Voxels move: T_φ(x) = x ∘ (id + u_φ), linear interpolation.

    Attributes:
        padding: of the image outside its grid: "zeros", the "border" value, or, for images whose background is not 0,
            the "lowest" intensity of each sample and channel, or a number.
        pad_scores: whether masks and scores are padded in the same way. A defect of the release: the mask of what left
            the field of view is then 1 everywhere.
    """

    geometric: ClassVar[bool] = True
    padding: Outside = "zeros"
    pad_scores: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.padding, str):
            require_choice("padding of a geometric member", self.padding, ("zeros", "border", "lowest"))
        else:
            require_number("padding of a geometric member", self.padding)

    @abstractmethod
    def displacement(self, parameters: Tensor, shape: Sequence[int]) -> Tensor:
        """Displacement u_φ (N, D, *S) in voxels, from the grid of the result into the image."""

    @abstractmethod
    def inverse_displacement(self, parameters: Tensor, shape: Sequence[int]) -> Tensor:
        """Displacement (N, D, *S) in voxels that undoes u_φ."""

    def apply(self, image: Tensor, parameters: Tensor) -> Tensor:
        """The image warped by u_φ."""
        return moved(image, self.displacement(parameters, image.shape[2:]), self.padding)

    def carry(self, values: Tensor, parameters: Tensor) -> Tensor:
        """Masks, labels or scores warped by u_φ."""
        return moved(values, self.displacement(parameters, values.shape[2:]), self._outside_of_scores)

    def invert(self, values: Tensor, parameters: Tensor) -> Tensor:
        """Scores or masks warped by the inverse of u_φ."""
        return moved(values, self.inverse_displacement(parameters, values.shape[2:]), self._outside_of_scores)

    @property
    def _outside_of_scores(self) -> Outside:
        return self.padding if self.pad_scores else "zeros"


def moved(values: Tensor, displacement: Tensor, outside: Outside) -> Tensor:
    """Values (N, C, *S) warped by a displacement (N, D, *S), with what lies outside."""
    if outside == "zeros" or outside == "border":
        return warp(values, displacement, padding=outside)
    floor = lowest(values) if outside == "lowest" else outside
    return floor + warp(values - floor, displacement, padding="zeros")
