"""Operations on intensities of which RandAugment applies a few, each of an adjustable strength."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from medreg.augmentation.batch.unit_range import unit_range
from medreg.errors import require_number, require_whole

_MEANS = {2: F.avg_pool2d, 3: F.avg_pool3d}


class Operation(ABC):
    """A change of labelled images of a given strength; no chance is in it."""

    @abstractmethod
    def __call__(self, image: Tensor, target: Tensor, strength: Tensor) -> tuple[Tensor, Tensor]:
        """Return changed images and targets.

        Args:
            image: (N, C, *S) in [0, 1].
            target: (N, L+1, *S).
            strength: (N,) from −1 to 1: share of the most that the operation does, and which way.
        """


class Shading(Operation):
    """An operation that leaves every voxel, and so the target, in its place."""

    def __call__(self, image: Tensor, target: Tensor, strength: Tensor) -> tuple[Tensor, Tensor]:
        """The shaded images, within [0, 1], and the same targets."""
        return self.shaded(image, strength.reshape(-1, *[1] * (image.ndim - 1))).clamp(0, 1), target

    @abstractmethod
    def shaded(self, image: Tensor, strength: Tensor) -> Tensor:
        """Images (N, C, *S), perhaps beyond [0, 1], for strengths (N, 1, …)."""


@dataclass(frozen=True)
class Graded(Shading):
    """A shading whose strength is a number m.

    Attributes:
        most: m at full strength.
    """

    most: float

    def __post_init__(self) -> None:
        require_number(f"{type(self).__name__.lower()}.most", self.most, above=0.0)


class Nothing(Shading):
    """Images as they are."""

    def shaded(self, image: Tensor, strength: Tensor) -> Tensor:
        """The image."""
        return image


@dataclass(frozen=True)
class Brightness(Graded):
    """(1 + m) x."""

    def shaded(self, image: Tensor, strength: Tensor) -> Tensor:
        """Brighter or darker."""
        return image * (1 + self.most * strength)


@dataclass(frozen=True)
class Contrast(Graded):
    """μ + (1 + m)(x − μ) with the mean μ of the image."""

    def shaded(self, image: Tensor, strength: Tensor) -> Tensor:
        """Away from the mean or towards it."""
        mean = image.mean(tuple(range(2, image.ndim)), keepdim=True)
        return mean + (1 + self.most * strength) * (image - mean)


@dataclass(frozen=True)
class Gamma(Graded):
    """x^γ with log γ = m."""

    def shaded(self, image: Tensor, strength: Tensor) -> Tensor:
        """Dark tones darker or brighter."""
        return image.clamp(0, 1) ** (self.most * strength).exp()


@dataclass(frozen=True)
class Sharpness(Graded):
    """x + m (x − blurred x), blurred by the 3 × 3 window of torchvision: 5 in the middle and 1 around it.

    A negative strength blurs.
    """

    def shaded(self, image: Tensor, strength: Tensor) -> Tensor:
        """Sharper or smoother; the border counts the voxels that exist."""
        ndim = image.ndim - 2
        mean = _MEANS[ndim](image, 3, stride=1, padding=1, count_include_pad=False)
        blurred = (3**ndim * mean + 4 * image) / (3**ndim + 4)
        return image + self.most * strength * (image - blurred)


@dataclass(frozen=True)
class Posterise(Shading):
    """Fewer bits for an intensity, 8 − m.

    Attributes:
        most: m at full strength, of 8; rounded to whole bits.
    """

    most: int

    def __post_init__(self) -> None:
        require_whole("posterise.most", self.most, 1)

    def shaded(self, image: Tensor, strength: Tensor) -> Tensor:
        """Steps of 2^m / 255."""
        step = 2.0 ** (self.most * strength.abs()).round()
        return (image * 255 / step).floor() * step / 255


class Solarise(Shading):
    """Intensities above 1 − m are inverted, 1 − x; m is the strength, at full strength all are."""

    def shaded(self, image: Tensor, strength: Tensor) -> Tensor:
        """Inverted where bright."""
        return torch.where(image >= 1 - strength.abs(), 1 - image, image)


@dataclass(frozen=True)
class Equalise(Shading):
    """Histogram equalisation: every intensity becomes the share of voxels that are darker. Has no strength.

    Attributes:
        bins: of the histogram between 0 and 1.
    """

    bins: int

    def __post_init__(self) -> None:
        require_whole("equalise.bins", self.bins, 2)

    def shaded(self, image: Tensor, strength: Tensor) -> Tensor:
        """Through the cumulative histogram of each channel; an image without contrast becomes 0."""
        flat = image.flatten(2)
        place = (flat * self.bins).long().clamp(0, self.bins - 1)
        counts = flat.new_zeros(*flat.shape[:2], self.bins).scatter_add_(2, place, torch.ones_like(flat))
        below = counts.cumsum(2) - counts
        return unit_range(below.gather(2, place).reshape(image.shape))
