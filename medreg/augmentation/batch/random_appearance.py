"""Images in random appearances, by random convolutions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medreg.augmentation.batch.base import BatchAugmentation, happens, require_probability
from medreg.augmentation.batch.unit_range import unit_range
from medreg.augmentation.random_convolution import RandomConvolution


@dataclass(frozen=True)
class RandomAppearance(BatchAugmentation):
    """g(x) brought back to [0, 1], with a random convolution g of its own for every channel of every sample.

    Attributes:
        convolution: the distribution of g.
        probability: with which a sample is changed.
    """

    convolution: RandomConvolution
    probability: float

    def __post_init__(self) -> None:
        require_probability("appearance.probability", self.probability)

    def change(self, image: Tensor, target: Tensor, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Change intensities; targets stay."""
        alone = image.flatten(0, 1).unsqueeze(1)
        draw = self.convolution.draw(len(alone), ndim=image.ndim - 2, generator=generator).to(image)
        new = unit_range(self.convolution.apply(alone, draw)).reshape(image.shape)
        chosen = happens(self.probability, len(image), generator=generator, like=image)
        return torch.where(chosen, new, image), target
