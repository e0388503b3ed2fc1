"""RandAugment: a few operations at random, all of one strength."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from medreg.augmentation.batch.base import BatchAugmentation
from medreg.augmentation.batch.operations import Operation
from medreg.augmentation.random_convolution import uniform
from medreg.errors import ConfigError, require_whole


@dataclass(frozen=True)
class RandAugment(BatchAugmentation):
    """Every sample goes through so many operations, drawn with replacement, each either way with equal chance.

    Cubuk et al., RandAugment: Practical Automated Data Augmentation with a Reduced Search Space, NeurIPS 2020. The
    strength is magnitude / (bins − 1) of what an operation can do, as in torchvision, from which cherise215/advchain
    ed5cd70 derives its own. That repeats one draw for a whole batch; here every sample has its own.

    Attributes:
        operations: name: operation, of which to choose. None is left out.
        count: operations a sample.
        magnitude: bin of the strength, from 0.
        bins: number of strengths.
    """

    operations: Mapping[str, Operation | None]
    count: int
    magnitude: int
    bins: int

    def __post_init__(self) -> None:
        require_whole("randaugment.count", self.count, 1)
        require_whole("randaugment.bins", self.bins, 2)
        require_whole("randaugment.magnitude", self.magnitude, 0)
        if self.magnitude >= self.bins:
            raise ConfigError(
                f"randaugment.magnitude is {self.magnitude}; of {self.bins} bins give one from 0 to {self.bins - 1}."
            )
        if not self._chosen():
            raise ConfigError("randaugment.operations is empty; give at least one.")

    def change(self, image: Tensor, target: Tensor, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Apply the operations that were drawn, each to the samples that drew it."""
        image, target = image.clone(), target.clone()
        operations, strength = self._chosen(), self.magnitude / (self.bins - 1)
        for _ in range(self.count):
            chance = uniform((2, len(image)), generator).to(image)
            drawn = (chance[0] * len(operations)).long().tolist()
            signed = strength * torch.where(chance[1] < 0.5, -1.0, 1.0).to(image)
            for number in sorted(set(drawn)):
                chosen = [sample for sample, other in enumerate(drawn) if other == number]
                image[chosen], target[chosen] = operations[number](
                    image[chosen], target[chosen], signed[chosen]
                )
        return image, target

    def _chosen(self) -> list[Operation]:
        return [operation for operation in self.operations.values() if operation is not None]
