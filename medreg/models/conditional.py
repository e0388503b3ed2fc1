"""Models that take the weight of the regulariser as an input: a number, or one for every voxel."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from medreg.errors import ConfigError
from medreg.models.base import Registration, RegistrationModel


@dataclass(frozen=True)
class WeightRange:
    """The interval of λ that a conditional model has seen in training.

    Attributes:
        low: smallest λ.
        high: largest λ.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ConfigError(
                f"The range of λ is [{self.low}, {self.high}]; its lower end must be below its upper end."
            )

    def contains(self, weight: Tensor) -> bool:
        """Whether every value of `weight` lies within the range."""
        return bool(((weight >= self.low) & (weight <= self.high)).all())


class ConditionalModel(RegistrationModel):
    """A registration model φ(F, M; λ) that covers a family of regularisations with one set of weights.

    Attributes:
        takes_maps: whether λ may differ from voxel to voxel; otherwise only one number per pair is taken.
        weight_range: the λ of training; others extrapolate.
        weight: λ of a call that names none.
    """

    takes_maps: ClassVar[bool] = False
    weight_range: WeightRange
    weight: float

    @abstractmethod
    def forward(
        self,
        fixed: Tensor,
        moving: Tensor,
        *,
        spacing_mm: Tensor | None = None,
        fixed_mask: Tensor | None = None,
        moving_mask: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> Registration:
        """Register each moving image to its fixed image with a given smoothness.

        Args:
            fixed: (B, C, *S) fixed images.
            moving: (B, C, *S) moving images on the fixed grid.
            spacing_mm: as in `RegistrationModel.forward`.
            fixed_mask: likewise.
            moving_mask: likewise.
            weight: λ, (B,) or, where the model takes maps, (B, 1, *S) on the fixed grid; `self.weight` everywhere
                when None. Without unit: what λ multiplies is the business of the task that trained the model.
        """


def region_map(labels: Tensor, weights: Tensor) -> Tensor:
    """A map of λ that is constant on every region: Λ(x) = Σ_k λ_k [labels(x) = k].

    Written as a product with the one-hot labels, so that it is differentiable in λ and no region can be
    relabelled by another's value (Wang et al., ISBI 2023; the released code replaces values in place).

    Args:
        labels: (B, 1, *S) integers 0…K−1, of the fixed image.
        weights: (K,) or (B, K), λ of every region, the background's first.

    Returns:
        (B, 1, *S) in the type of `weights`.

    Raises:
        ConfigError: a label without a weight.
    """
    count = weights.shape[-1]
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= count:
        raise ConfigError(
            f"The label map has labels {low} to {high}, but there are weights for 0 to {count - 1} only; "
            "give one λ for every label, the background included."
        )
    regions = torch.nn.functional.one_hot(labels[:, 0].long(), count).to(weights.dtype)  # (B, *S, K)
    batched = weights.expand(labels.shape[0], count)
    return torch.einsum("b...k,bk->b...", regions, batched)[:, None]
