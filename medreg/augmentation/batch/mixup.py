"""Mixup: convex combinations of two images and of their targets."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.special import betaincinv
from torch import Tensor

from medreg.augmentation.batch.base import BatchAugmentation
from medreg.augmentation.random_convolution import mixed, uniform
from medreg.errors import require_number


@dataclass(frozen=True)
class Mixup(BatchAugmentation):
    """λ x_i + (1 − λ) x_j with λ ~ Beta(α, α), i and j of one batch, and the same of the targets.

    Zhang et al., mixup: Beyond Empirical Risk Minimization, ICLR 2018. There one λ serves a batch; here every sample
    has its own. A sample may meet itself, and a batch of one always does.

    Attributes:
        alpha: α of the Beta distribution; small ones leave most samples almost alone.
    """

    alpha: float

    def __post_init__(self) -> None:
        require_number("mixup.alpha", self.alpha, above=0.0)

    def change(self, image: Tensor, target: Tensor, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Mix each sample with another one; targets become soft."""
        share = beta(self.alpha, len(image), generator=generator, like=image)
        other = partners(image, generator)
        return mixed(image, image[other], share), mixed(target, target[other], share.to(target))


def beta(alpha: float, count: int, *, generator: torch.Generator, like: Tensor) -> Tensor:
    """(count,) numbers from Beta(α, α), by the inverse of its distribution: one uniform number each."""
    chance = uniform((count,), generator).double().cpu().numpy()
    return torch.as_tensor(betaincinv(alpha, alpha, chance)).to(like)


def partners(image: Tensor, generator: torch.Generator) -> Tensor:
    """(N,) a random permutation of the samples, on the image's device."""
    return torch.randperm(len(image), generator=generator, device=generator.device).to(image.device)
