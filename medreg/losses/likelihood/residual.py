"""What a likelihood is about: the difference of two images, plain or after local standardisation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from medreg.errors import ConfigError, DataError, require_choice
from medreg.losses.similarity.window import box_sum, extended_box_sum, window_count

Border = Literal["replicate", "inside"]


class _Known(NamedTuple):
    """T of a fixed image, and what it was made of."""

    fixed: Tensor
    version: int
    mask: Tensor | None
    samples: int
    values: Tensor


class Residual(nn.Module, ABC):
    """r = T(F) − T(W) of a fixed image F and a warped image W, T a map of one image."""

    def __init__(self) -> None:
        super().__init__()
        self._known: _Known | None = None

    @abstractmethod
    def transformed(self, image: Tensor, mask: Tensor | None) -> Tensor:
        """T of an image (B, C, *S) that is 0 outside the mask (B, 1, *S)."""

    def forward(self, warped: Tensor, fixed: Tensor, mask: Tensor | None = None) -> Tensor:
        """Residual at every voxel; outside the mask it is of no meaning but finite.

        Args:
            warped: (S, C, *grid), chain after chain of the pairs.
            fixed: (P, C, *grid) of the pairs, or (S, C, *grid).
            mask: (P or S, 1, *grid) weights in [0, 1], or None.

        Returns:
            (S, C, *grid).

        Raises:
            DataError: the shapes do not fit.
        """
        _check(warped, fixed, mask)
        reference = self._of_fixed(fixed, mask, len(warped))
        mask = None if mask is None else for_samples(mask, len(warped))
        return reference - self.transformed(_inside(warped, mask), mask)

    def _of_fixed(self, fixed: Tensor, mask: Tensor | None, samples: int) -> Tensor:
        """T(F), (S or 1, C, *grid), computed once for as long as image and mask stay the same."""
        known = self._known
        if (
            known is not None
            and known.fixed is fixed
            and known.version == _version(fixed)
            and known.mask is mask
            and known.samples == samples
        ):
            return known.values
        size = max(len(fixed), 1 if mask is None else len(mask))
        chosen = None if mask is None else for_samples(mask, size)
        values = self.transformed(_inside(for_samples(fixed, size), chosen), chosen)
        values = values if size == 1 else for_samples(values, samples)
        if not values.requires_grad:
            self._known = _Known(fixed, _version(fixed), mask, samples, values)
        return values


class Difference(Residual):
    """r = F − W in the intensities of the images, for one modality and scanner."""

    def transformed(self, image: Tensor, mask: Tensor | None) -> Tensor:
        """The image itself."""
        return image


class LocallyStandardised(Residual):
    """r = (F − μ_F)/σ_F − (W − μ_W)/σ_W with the mean and standard deviation of a window around each voxel.

    μ = mean of the window, σ² = mean of (I(y) − μ(y))² over its voxels y, each centred by its own local mean,
    plus ε. Blind to a local gain and offset of either image; without unit.

    With a mask, windows count voxels of the mask only, so that nothing outside has an influence (the released code
    takes them in).

    Args:
        window: odd width in voxels, equal for all axes.
        eps: ε, squared intensities.
        border: outside the image its border value ("replicate", as in the released code), or windows end there
            ("inside").

    Raises:
        ConfigError: an impossible setting.

    References:
        Grzech et al., Uncertainty quantification in non-rigid image registration via stochastic gradient
        Markov chain Monte Carlo, MELBA 2021, and its released code.
    """

    def __init__(self, *, window: int, eps: float = 1e-10, border: Border = "replicate") -> None:
        super().__init__()
        if window < 3 or window % 2 == 0:
            raise ConfigError(
                f"likelihood.residual.window is {window}; it must be an odd number of voxels, 3 or more."
            )
        if not 0 < eps < float("inf"):
            raise ConfigError(f"likelihood.residual.eps is {eps}; it must be a number above 0.")
        require_choice("likelihood.residual.border", border, get_args(Border))
        self.window, self.eps = window, float(eps)
        self.border: Border = border

    def transformed(self, image: Tensor, mask: Tensor | None) -> Tensor:
        """Standardise the image, (B, C, *S)."""
        factor = self._factor(image, mask)
        centred = image - self._mean(image, mask, factor)
        if mask is not None:
            centred = centred * (
                mask > 0
            )  # what a window may not see must not come in by its centring either
        return centred * (self._mean(centred.square(), mask, factor) + self.eps).rsqrt()

    def extra_repr(self) -> str:
        """Settings for printing."""
        return f"window={self.window}, eps={self.eps}, border={self.border}"

    def _mean(self, values: Tensor, mask: Tensor | None, factor: Tensor | float) -> Tensor:
        return self._sum(values if mask is None else values * mask.to(values)) * factor

    def _factor(self, image: Tensor, mask: Tensor | None) -> Tensor | float:
        """One over the weight of the window of each voxel; 0 where it holds nothing of the mask."""
        if mask is not None:
            weight = self._sum(mask.to(image))
            return torch.where(weight > 0.5 / self.window ** (image.ndim - 2), 1.0 / weight, 0.0)
        if self.border == "replicate":
            return 1.0 / self.window ** (image.ndim - 2)
        return 1.0 / window_count(image.shape[2:], self.window, dtype=image.dtype, device=image.device)

    def _sum(self, values: Tensor) -> Tensor:
        sums = extended_box_sum if self.border == "replicate" else box_sum
        return sums(values, self.window)


def for_samples(tensor: Tensor, samples: int) -> Tensor:
    """(P, …) of the pairs for S samples, chain after chain; of one pair without a copy.

    Raises:
        DataError: S is no multiple of P.
    """
    if len(tensor) == samples:
        return tensor
    if samples % len(tensor):
        raise DataError(
            f"A batch of {samples} does not divide into chains of {len(tensor)} pairs; give every pair as many."
        )
    rest = tensor.shape[1:]
    if len(tensor) == 1:
        return tensor.expand(samples, *rest)
    return tensor.repeat(samples // len(tensor), *[1] * len(rest))


def _inside(image: Tensor, mask: Tensor | None) -> Tensor:
    """The image with 0 outside the mask, where it may be anything, NaN included."""
    return image if mask is None else image.masked_fill(mask == 0, 0.0)


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


def _check(warped: Tensor, fixed: Tensor, mask: Tensor | None) -> None:
    if warped.shape[1:] != fixed.shape[1:]:
        raise DataError(
            f"The warped image has shape {tuple(warped.shape)} and the fixed image {tuple(fixed.shape)}; bring both "
            "to the fixed grid with the same number of channels."
        )
    if mask is not None and mask.shape[1:] != (1, *fixed.shape[2:]):
        raise DataError(
            f"The mask has shape {tuple(mask.shape)} but images of shape {tuple(fixed.shape)} need one channel on "
            f"the fixed grid, {(len(fixed), 1, *fixed.shape[2:])}."
        )
