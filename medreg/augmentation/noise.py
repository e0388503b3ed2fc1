"""Noise of bounded energy: x + δ, with as many parameters as voxels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from medreg.augmentation.direction import BoundedNorm
from medreg.augmentation.member import as_floats, like, unit, untouched
from medreg.augmentation.random_convolution import normal


@dataclass(frozen=True, kw_only=True)
class Noise(BoundedNorm):
    """Additive noise whose L2 norm over channels and voxels is bounded by ε for each sample.

    The root mean square change of a voxel is ε/√(C·|S|): 0.0052 at 192² for ε = 1 and images in [0, 1].

    Attributes:
        epsilon: as in `BoundedNorm`, like form and xi; intensities.
        ignore: intensities that stay as they are.
        ignore_background: whether the smallest intensity of an image stays as it is.
    """

    ignore: Sequence[float] = ()
    ignore_background: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "ignore", as_floats("noise.ignore", self.ignore))

    @classmethod
    def paper(cls, ndim: int = 2, **changes: Any) -> Noise:
        """The setting of the experiments of Chen et al. 2022."""
        return replace(cls(epsilon=1.0, form="ball", xi=1e-6), **changes)

    @classmethod
    def release(cls, ndim: int = 2, **changes: Any) -> Noise:
        """The setting of the released examples (ed5cd70)."""
        return replace(cls(epsilon=1.0, form="sphere", xi=1e-6), **changes)

    def draw(self, image: Tensor, *, generator: torch.Generator) -> Tensor:
        """A direction that is uniform on the sphere, at full length; (N, C, *S)."""
        return self.at_full_length(unit(like(normal(image.shape, generator), image)))

    def identity(self, image: Tensor) -> Tensor:
        """Zeros (N, C, *S)."""
        return like(torch.zeros_like(image), image)

    def apply(self, image: Tensor, parameters: Tensor) -> Tensor:
        """The sum x + δ, except where intensities are ignored."""
        return untouched(image, image + self.gain * parameters, self.ignore, self.ignore_background)
