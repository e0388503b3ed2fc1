"""Random contrast and brightness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medreg.augmentation.batch.base import happens, numbers_between, require_probability, require_range


@dataclass(frozen=True)
class RandomContrast:
    """c·x + b, held between the image's own minimum and maximum.

    Attributes:
        probability: with which a sample is changed.
        contrast: least and most c.
        brightness: least and most b, intensities of [0, 1].
    """

    probability: float
    contrast: Sequence[float]
    brightness: Sequence[float]

    def __post_init__(self) -> None:
        require_probability("contrast.probability", self.probability)
        require_range("contrast.contrast", self.contrast, above=0.0)
        require_range("contrast.brightness", self.brightness)

    def __call__(self, image: Tensor, *, generator: torch.Generator) -> Tensor:
        """Return images (N, C, *S) with a contrast and a brightness of their own."""
        count, axes = len(image), tuple(range(1, image.ndim))
        shape = (count, *[1] * len(axes))
        gain = numbers_between(self.contrast, shape, generator=generator, like=image)
        offset = numbers_between(self.brightness, shape, generator=generator, like=image)
        chosen = happens(self.probability, count, generator=generator, like=image)
        low, high = image.amin(axes, keepdim=True), image.amax(axes, keepdim=True)
        return torch.where(chosen, (gain * image + offset).clamp(low, high), image)
