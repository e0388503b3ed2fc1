"""Several augmentations one after another, beside the images as they were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from medreg.augmentation.batch.base import BatchAugmentation
from medreg.augmentation.batch.labelled_warp import centred
from medreg.errors import require_choice


@dataclass(frozen=True)
class InTurn(BatchAugmentation):
    """Augmentations in the order of their names in the configuration.

    Attributes:
        parts: name: augmentation, first to last; those that move voxels before those that mix targets. None is left
            out.
        copies: "all": every image is augmented. "half": the images follow once more as they were, as in the released
            experiment code of Chen et al. 2022, so that N images give 2 N samples.
    """

    parts: Mapping[str, BatchAugmentation | None]
    copies: str

    def __post_init__(self) -> None:
        require_choice("augmentation.batch.copies", self.copies, ("all", "half"))

    def change(self, image: Tensor, target: Tensor, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The augmented samples, then perhaps the others, cropped about their centre if the augmented ones are."""
        new_image, new_target = image, target
        for part in self.parts.values():
            if part is not None:
                new_image, new_target = part(new_image, new_target, generator=generator)
        if self.copies == "all":
            return new_image, new_target
        image, target = centred(image, target, new_image.shape[2:])
        return torch.cat([new_image, image]), torch.cat([new_target, target])
