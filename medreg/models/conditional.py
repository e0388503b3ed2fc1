"""Models that take the smoothness of the regulariser as an input: a number, or one for every voxel."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medreg.errors import ConfigError
from medreg.inference.registration import Registration
from medreg.models.base import RegistrationModel


@dataclass(frozen=True)
class SmoothnessRange:
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

    def contains(self, smoothness: Tensor) -> bool:
        """Whether every value of `smoothness` lies within the range."""
        return bool(((smoothness >= self.low) & (smoothness <= self.high)).all())


class ConditionalModel(RegistrationModel):
    """A registration model φ(F, M; λ) that covers a family of regularisations with one set of weights.

    Attributes:
        takes_maps: whether λ may differ from voxel to voxel; otherwise only one number per pair is taken.
        smoothness_range: the λ of training; others extrapolate.
        smoothness: λ of a call that names none.
    """

    takes_maps: bool = False
    smoothness_range: SmoothnessRange
    smoothness: float

    @abstractmethod
    def forward(
        self,
        fixed: Tensor,
        moving: Tensor,
        *,
        spacing_mm: Tensor | None = None,
        fixed_mask: Tensor | None = None,
        moving_mask: Tensor | None = None,
        smoothness: Tensor | None = None,
    ) -> Registration:
        """Register each moving image to its fixed image with a given smoothness.

        Args:
            fixed: (B, C, *S) fixed images.
            moving: (B, C, *S) moving images on the fixed grid.
            spacing_mm: as in `RegistrationModel.forward`.
            fixed_mask: likewise.
            moving_mask: likewise.
            smoothness: λ, (B,) or, where the model takes maps, (B, 1, *S) on the fixed grid; `self.smoothness`
                everywhere when None. Without unit: what λ multiplies is the business of the task that trained
                the model.
        """


@dataclass(frozen=True)
class Regions:
    """Which labels share one λ.

    Attributes:
        groups: label codes of region 1, region 2, …; every other voxel belongs to region 0, the background.
    """

    groups: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, groups: Sequence[Sequence[int]] | None, *, labels: Sequence[int]) -> Regions:
        """The groups of an option; every label of the data a region of its own where there are none."""
        chosen = [[code] for code in labels] if groups is None else groups
        return cls(tuple(tuple(int(code) for code in group) for group in chosen))

    @property
    def count(self) -> int:
        """Number of regions, the background included."""
        return len(self.groups) + 1

    def number(self, labels: Tensor) -> Tensor:
        """Region 0…K−1 of every voxel, int64, of a label map of any shape."""
        regions = torch.zeros_like(labels, dtype=torch.int64)
        for number, group in enumerate(self.groups, start=1):
            regions[torch.isin(labels, torch.tensor(group, device=labels.device))] = number
        return regions


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
        ConfigError: a label without a smoothness.
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
