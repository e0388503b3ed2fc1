"""CutMix: a box of one image in the place of another's."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medreg.augmentation.batch.base import BatchAugmentation, happens, require_probability
from medreg.augmentation.batch.mixup import beta, partners
from medreg.augmentation.random_convolution import uniform
from medreg.errors import require_number


@dataclass(frozen=True)
class CutMix(BatchAugmentation):
    """A box that covers a share 1 − λ of the image, λ ~ Beta(α, α), comes from another sample, with its target.

    Yun et al., CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features, ICCV 2019: the
    centre is uniform in the image, where the box is cut off. Targets of segmentation are cut like the images, so that
    they stay hard.

    Attributes:
        alpha: α of the Beta distribution; 1 is uniform.
        probability: with which a sample is changed.
    """

    alpha: float
    probability: float

    def __post_init__(self) -> None:
        require_number("cutmix.alpha", self.alpha, above=0.0)
        require_probability("cutmix.probability", self.probability)

    def change(self, image: Tensor, target: Tensor, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Paste a box of another sample into each."""
        inside = self.boxes(image, generator=generator)
        inside = inside & happens(self.probability, len(image), generator=generator, like=image)
        other = partners(image, generator)
        return torch.where(inside, image[other], image), torch.where(inside, target[other], target)

    def boxes(self, image: Tensor, *, generator: torch.Generator) -> Tensor:
        """(N, 1, *S) bool, a box of each sample: sides S_k (1 − λ)^{1/D}, rounded down as in the release."""
        count, ndim = len(image), image.ndim - 2
        extent = (1 - beta(self.alpha, count, generator=generator, like=image)) ** (1 / ndim)
        inside = torch.ones(count, 1, *[1] * ndim, dtype=torch.bool, device=image.device)
        for axis, size in enumerate(image.shape[2:]):
            view = (-1, *[1] * (ndim + 1))
            half = (extent * size).floor().div(2).floor().reshape(view)
            centre = (uniform((count,), generator).to(image) * size).floor().reshape(view)
            place = torch.arange(size, device=image.device).reshape(-1, *[1] * (ndim - 1 - axis))
            inside = inside & (place >= centre - half) & (place < centre + half)
        return inside
