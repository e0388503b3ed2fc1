"""No augmentation."""

from __future__ import annotations

import torch
from torch import Tensor

from medreg.augmentation.batch.base import BatchAugmentation


class Unchanged(BatchAugmentation):
    """Images and targets as they are: the lower bound of a comparison."""

    def change(self, image: Tensor, target: Tensor, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The arguments themselves."""
        return image, target
