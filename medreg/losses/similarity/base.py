"""What every similarity measure promises to its callers."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from medreg.errors import DataError
from medreg.geometry.precision import at_least_single
from medreg.losses.reduction import checked_weight


class Similarity(nn.Module, ABC):
    """Dissimilarity D(W, F) of a warped and a fixed image, one value a sample; lower is better.

    The value is a mean over voxels (or a ratio that does not grow with their number), so that weights keep
    their meaning across image sizes and a sample never depends on its neighbours in the batch. It is computed
    in float32 at least, also under autocast, and can be differentiated twice with respect to both images.

    Attributes:
        weight: factor of this term in the energy; applied by `Energy`, not by `forward`.
    """

    weight: float

    def __init__(self, *, weight: float) -> None:
        super().__init__()
        self.weight = checked_weight(weight, "similarity")

    def forward(self, warped: Tensor, fixed: Tensor, *, mask: Tensor | None = None) -> Tensor:
        """Compare the images inside the mask.

        Args:
            warped: (B, C, *S) moving image on the fixed grid.
            fixed: (B, C, *S).
            mask: (B, 1, *S) bool, integer or float in [0, 1]; voxels at 0 contribute nothing, whatever their
                intensity (NaN included).

        Returns:
            (B,) unweighted dissimilarity.

        Raises:
            DataError: the shapes of images and mask do not match.
        """
        _check_shapes(warped, fixed, mask)
        with torch.autocast(device_type=warped.device.type, enabled=False):
            warped, fixed = at_least_single(warped), at_least_single(fixed)
            if mask is not None:
                outside = mask == 0
                mask = mask.to(fixed)
                warped, fixed = warped.masked_fill(outside, 0.0), fixed.masked_fill(outside, 0.0)
            return self.compare(warped, fixed, mask)

    @abstractmethod
    def compare(self, warped: Tensor, fixed: Tensor, mask: Tensor | None) -> Tensor:
        """Return the (B,) dissimilarity; images are float, 0 outside the float mask (B, 1, *S)."""

    def extra_repr(self) -> str:
        """Return the constructor's numbers for printing."""
        return ", ".join(f"{name}={value}" for name, value in vars(self).items() if _is_setting(name, value))


def _is_setting(name: str, value: object) -> bool:
    return not name.startswith("_") and name != "training" and isinstance(value, int | float | str)


def _check_shapes(warped: Tensor, fixed: Tensor, mask: Tensor | None) -> None:
    if warped.shape != fixed.shape:
        raise DataError(
            f"The warped image has shape {tuple(warped.shape)} and the fixed image {tuple(fixed.shape)}; "
            "bring both to the fixed grid with the same number of channels."
        )
    if mask is not None and mask.shape != (fixed.shape[0], 1, *fixed.shape[2:]):
        raise DataError(
            f"The mask has shape {tuple(mask.shape)} but images of shape {tuple(fixed.shape)} need "
            f"{(fixed.shape[0], 1, *fixed.shape[2:])}; give one mask channel on the fixed grid."
        )
