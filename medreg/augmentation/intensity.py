"""What is done to the intensities of images that transformations have changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from medreg.errors import ConfigError, require_choice


@dataclass(frozen=True)
class Intensity:
    """Keeps transformed images in the range of the clean ones.

    "rescale" brings every image linearly to its own former minimum and maximum, as in the code of the arXiv paper
    (August 2021); it takes back what a bias field changes in the gain of the whole image. "clamp" cuts at the
    minimum and maximum of the clean batch, or at `low` and `high` (released code ed5cd70). "none" does nothing.

    Chen et al., Enhancing MR Image Segmentation with Realistic Adversarial Data Augmentation, MedIA 2022.

    Attributes:
        kind: "none", "clamp" or "rescale".
        low: lower end of "clamp", in the unit of the images; None is the minimum of the clean batch.
        high: its upper end; None is the maximum.
    """

    kind: Literal["none", "clamp", "rescale"] = "rescale"
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        require_choice("intensity.kind", self.kind, ("none", "clamp", "rescale"))
        if (self.low is not None or self.high is not None) and self.kind != "clamp":
            raise ConfigError(
                f"intensity.low and intensity.high belong to kind=clamp; the kind is {self.kind}."
            )
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ConfigError(f"intensity.low is {self.low} and intensity.high {self.high}; give low < high.")

    def keep(self, changed: Tensor, clean: Tensor) -> Tensor:
        """Changed images (N, C, *S) in the range of the clean ones (N, C, *S)."""
        if self.kind == "clamp":
            low = clean.amin() if self.low is None else clean.new_tensor(self.low)
            high = clean.amax() if self.high is None else clean.new_tensor(self.high)
            return changed.clamp(low, high)
        if self.kind == "none":
            return changed
        axes = tuple(range(1, changed.ndim))
        low, high = clean.amin(axes, keepdim=True), clean.amax(axes, keepdim=True)
        bottom, top = changed.amin(axes, keepdim=True), changed.amax(axes, keepdim=True)
        return (changed - bottom) / (top - bottom).clamp_min(1e-20) * (high - low) + low
