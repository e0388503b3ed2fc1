"""A synthetic modality: a random convolution whose output is brought to [0, 1] as real images are at test."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medreg.augmentation.random_convolution import RandomConvolution, uniform


@dataclass(frozen=True)
class Scaling:
    """Clip to percentiles of the foreground and map them to 0 and 1; differentiable.

    Training and use share it, so that the network never sees a range of intensities that it was not trained on.

    Attributes:
        low: percent, lower limit.
        high: percent, upper limit.
        foreground: share of the brightest voxel above which a voxel counts as foreground.
    """

    low: float
    high: float
    foreground: float

    def inside(self, image: Tensor) -> Tensor:
        """Foreground of (N, 1, *S), bool; the whole image where nothing stands out."""
        values = image.detach().flatten(1)
        low, high = values.amin(1, keepdim=True), values.amax(1, keepdim=True)
        found = (values - low > self.foreground * (high - low)) | (high == low)
        return found.reshape(image.shape)

    def __call__(self, image: Tensor, inside: Tensor) -> Tensor:
        """Return the image between 0 and 1; one without contrast becomes 0.

        Args:
            image: (N, 1, *S).
            inside: (N, 1, *S) bool, foreground, of which every sample has some.
        """
        values, chosen = image.flatten(1), inside.flatten(1)
        low, high = (percentile(values, chosen, percent) for percent in (self.low, self.high))
        span = high - low
        contrast = span > 1e-6
        scaled = ((values - low) / torch.where(contrast, span, 1.0)).clamp(0, 1) * contrast
        return scaled.reshape(image.shape)


def percentile(values: Tensor, chosen: Tensor, percent: float) -> Tensor:
    """Percentile of the chosen values of each row, linear between neighbours; only the tail is sorted.

    Args:
        values: (N, V).
        chosen: (N, V) bool, at least one a row.
        percent: 0 to 100.

    Returns:
        (N, 1).
    """
    if percent > 50:
        return -percentile(-values, chosen, 100 - percent)
    count = chosen.sum(1, keepdim=True)
    place = percent / 100 * (count - 1).to(values.dtype)
    below = place.floor().long()
    length = min(int(percent / 100 * values.shape[1]) + 2, values.shape[1])
    tail = values.masked_fill(~chosen, torch.inf).topk(length, dim=1, largest=False).values
    first = tail.gather(1, below)
    second = tail.gather(1, torch.minimum(below + 1, count - 1).clamp_max(length - 1))
    return first + (place - below) * (second - first)


@dataclass(frozen=True)
class Appearance:
    """Random appearance of an image: g(x), scaled to [0, 1], drawn again where nothing can be seen.

    Attributes:
        convolution: the distribution of g.
        least_sd: standard deviation within the foreground below which a sample is drawn again.
        redraws: most draws beyond the first.
        blank: probability with which the background becomes 0, as it is in real, skull-stripped images; elsewhere
            it is the constant into which g turns 0.
    """

    convolution: RandomConvolution
    least_sd: float
    redraws: int
    blank: float

    @torch.no_grad()
    def __call__(self, image: Tensor, *, scaling: Scaling, generator: torch.Generator) -> Tensor:
        """Return each sample in a modality of its own, without a gradient.

        Args:
            image: (N, 1, *S), background 0.
            scaling: to [0, 1], that of the network.
            generator: source of chance, on the image's device.

        Returns:
            (N, 1, *S) in [0, 1].
        """
        inside = scaling.inside(image)
        out = scaling(self.convolution(image, generator=generator), inside)
        for _ in range(self.redraws):
            flat = (self._spread(out, inside) < self.least_sd).nonzero()[:, 0]
            if not len(flat):
                break
            new = self.convolution(image[flat], generator=generator)
            out[flat] = scaling(new, inside[flat])
        blank = uniform((len(image),), generator) < self.blank
        return out.masked_fill(blank.reshape(-1, *[1] * (image.ndim - 1)) & ~inside, 0.0)

    @staticmethod
    def _spread(image: Tensor, inside: Tensor) -> Tensor:
        """(N,) standard deviation within the foreground."""
        weight = inside.flatten(1).to(image)
        values, count = image.flatten(1), weight.sum(1)
        mean = (weight * values).sum(1) / count
        return ((weight * (values - mean.unsqueeze(1)).square()).sum(1) / count).sqrt()
