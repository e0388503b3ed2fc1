"""What a search of λ makes small: alignment of the warped moving image or labels with the fixed ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from medreg.errors import DataError
from medreg.geometry.warp import warp
from medreg.losses.similarity.ncc import NCC

SMALLEST = 1e-5  # denominator of the released code


class SearchObjective(ABC):
    """T(φ) of one case, lower is better, differentiable in the displacement.

    Attributes:
        requires: keys of the batch that it needs.
    """

    requires: ClassVar[frozenset[str]] = frozenset({"fixed_image", "moving_image"})

    def __init__(self, codes: Sequence[int]) -> None:
        self.codes = tuple(codes)

    def __call__(self, batch: Mapping[str, Any], displacement: Tensor) -> Tensor:
        """Return the objective of a case, a scalar.

        Args:
            batch: one case of the batch contract.
            displacement: (N, D, *S) voxels.

        Raises:
            DataError: the case lacks what the objective compares.
        """
        lacking = sorted(self.requires - set(batch))
        if lacking:
            raise DataError(
                f"{batch['case'][0]} has no {', '.join(lacking)}, which --objective needs; choose ncc or "
                "intensity_dice, which need images only."
            )
        return self.measure(batch, displacement)

    @abstractmethod
    def measure(self, batch: Mapping[str, Any], displacement: Tensor) -> Tensor:
        """Return the objective of a case that has everything."""


class IntensityDice(SearchObjective):
    """−2 Σ A·B / Σ (A + B) of the intensities of warped and fixed image, mean over slices.

    The objective of the released CSAIN code (Optimize_mean.py); images in [0, 1]. It favours ever less smoothness,
    because a freer field fits intensities better.
    """

    def measure(self, batch: Mapping[str, Any], displacement: Tensor) -> Tensor:
        """Return minus the soft Dice of intensities."""
        warped, fixed = warp(batch["moving_image"], displacement).flatten(1), batch["fixed_image"].flatten(1)
        return -(2 * (warped * fixed).sum(1) / (warped + fixed).sum(1).clamp_min(SMALLEST)).mean()


class LabelDice(SearchObjective):
    """−mean over structures of the soft Dice of linearly warped one-hot labels, voxels of a stack together.

    Structures absent from the fixed or the moving map are left out.
    """

    requires: ClassVar[frozenset[str]] = frozenset({"fixed_label", "moving_label", "moving_image"})

    def measure(self, batch: Mapping[str, Any], displacement: Tensor) -> Tensor:
        """Return minus the mean soft Dice.

        Raises:
            DataError: the maps share no structure.
        """
        fixed, moving = batch["fixed_label"], batch["moving_label"]
        shared = [code for code in self.codes if bool((fixed == code).any() and (moving == code).any())]
        if not shared:
            raise DataError(f"{batch['case'][0]}: the two label maps share no structure to compare.")
        one_hot = [
            torch.cat([labels == code for code in shared], 1).to(displacement) for labels in (fixed, moving)
        ]
        warped = warp(one_hot[1], displacement, padding="zeros")
        axes = [0, *range(2, fixed.ndim)]
        overlap = (one_hot[0] * warped).sum(axes)
        return -(2 * overlap / (one_hot[0] + warped).sum(axes).clamp_min(SMALLEST)).mean()


class Correlation(SearchObjective):
    """−squared global correlation of warped and fixed image, mean over slices."""

    def __init__(self, codes: Sequence[int]) -> None:
        super().__init__(codes)
        self.similarity = NCC(weight=1.0)

    def measure(self, batch: Mapping[str, Any], displacement: Tensor) -> Tensor:
        """Return the mean dissimilarity of the slices."""
        value: Tensor = self.similarity(
            warp(batch["moving_image"], displacement), batch["fixed_image"]
        ).mean()
        return value


OBJECTIVES: Mapping[str, type[SearchObjective]] = {
    "label_dice": LabelDice,
    "intensity_dice": IntensityDice,
    "ncc": Correlation,
}
