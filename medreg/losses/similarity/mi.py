"""Mutual information (MI) and its normalised form (NMI), for images of different modality."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from medreg.errors import ConfigError
from medreg.losses.similarity.base import Similarity
from medreg.losses.similarity.parzen import ParzenWindow, joint_histogram

_GOLDEN_RATIO = 0.6180339887498949


class Entropies(NamedTuple):
    """Entropies of the warped image, of the fixed image and of both together, (B,) each, in nats."""

    warped: Tensor
    fixed: Tensor
    joint: Tensor


def entropies(histogram: Tensor, *, eps: float) -> Entropies:
    """H = −Σ p·log(p + ε) of the joint histogram and of its margins.

    Args:
        histogram: (B, bins, bins), not normalised.
        eps: ε, added to the total and inside the logarithms, as in midir.
    """
    joint = histogram / (histogram.sum((1, 2), keepdim=True) + eps)
    return Entropies(
        _entropy(joint.sum(2), eps), _entropy(joint.sum(1), eps), _entropy(joint.flatten(1), eps)
    )


def _entropy(probability: Tensor, eps: float) -> Tensor:
    return -(probability * (probability + eps).log()).sum(1)


def sampled_voxels(count: int, ratio: float, *, device: torch.device) -> Tensor:
    """Indices of about ratio·count voxels, spread evenly over the image and the same at every call.

    Voxel i is taken if the fractional part of i/φ (golden ratio φ) lies below the ratio: no stride that could
    fall in step with rows of the image, no random state that a resumed run would have to restore.
    """
    return _sampled_voxels(count, ratio, device)


@lru_cache(maxsize=2)
def _sampled_voxels(count: int, ratio: float, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # a later call may have to keep them for its backward pass
        position = torch.arange(count, dtype=torch.float64, device=device) * _GOLDEN_RATIO
        return (position.frac() < ratio).nonzero()[:, 0]


class MI(Similarity):
    """Mutual information: D = −(H(w) + H(f) − H(w, f)) in nats, mean over channels.

    Gaussian Parzen windows (Qiu et al., midir, MIDL 2021, code; settings of `ParzenWindow`).

    Deviation: midir draws new random voxels at each call when `sample_ratio` is below 1; ours are fixed, see
    `sampled_voxels`.

    Args:
        bins: number of histogram bins per image.
        sample_ratio: share of voxels in the histogram, in (0, 1].
        weight: factor in the energy.
        vmin: lowest bin centre, intensity.
        vmax: highest bin centre, intensity.
        eps: ε of the logarithms.
    """

    def __init__(
        self,
        *,
        bins: int,
        sample_ratio: float,
        weight: float,
        vmin: float = 0.0,
        vmax: float = 1.0,
        eps: float = 1e-5,
    ) -> None:
        super().__init__(weight=weight)
        _check(bins, sample_ratio, vmin, vmax)
        self.bins = bins
        self.sample_ratio = sample_ratio
        self.vmin = vmin
        self.vmax = vmax
        self.eps = eps

    def compare(self, warped: Tensor, fixed: Tensor, mask: Tensor | None) -> Tensor:
        """Return the (B,) negative mutual information."""
        h = self.entropies(warped, fixed, mask)
        return _mean_over_channels(h.joint - h.warped - h.fixed, fixed)

    def entropies(self, warped: Tensor, fixed: Tensor, mask: Tensor | None) -> Entropies:
        """Entropies of each sample and channel, (B·C,) each."""
        channels = fixed.shape[1]
        warped, fixed = warped.flatten(2).flatten(0, 1), fixed.flatten(2).flatten(0, 1)
        weights = None if mask is None else mask.flatten(1).repeat_interleave(channels, 0)
        if self.sample_ratio < 1.0:
            voxels = sampled_voxels(fixed.shape[1], self.sample_ratio, device=fixed.device)
            warped, fixed = warped[:, voxels], fixed[:, voxels]
            weights = None if weights is None else weights[:, voxels]
        window = ParzenWindow(self.vmin, self.vmax, self.bins)
        return entropies(joint_histogram(warped, fixed, window, weights=weights), eps=self.eps)


class NMI(MI):
    """Normalised mutual information: D = −(H(w) + H(f)) / H(w, f), mean over channels.

    In [−2, −1] but for the smoothing of the windows: identical images give about −1.65 with 64 bins
    (Studholme et al., Pattern Recognit. 1999; windows of midir as in `MI`). Arguments as `MI`.
    """

    def compare(self, warped: Tensor, fixed: Tensor, mask: Tensor | None) -> Tensor:
        """Return the (B,) negative normalised mutual information; 0 where the mask is empty."""
        h = self.entropies(warped, fixed, mask)
        joint = h.joint.clamp_min(self.eps)
        return _mean_over_channels(-(h.warped + h.fixed) / joint, fixed)


def _mean_over_channels(values: Tensor, image: Tensor) -> Tensor:
    return values.view(image.shape[0], image.shape[1]).mean(1)


def _check(bins: int, sample_ratio: float, vmin: float, vmax: float) -> None:
    if bins < 2:
        raise ConfigError(f"similarity.bins is {bins}; a histogram needs 2 or more.")
    if not 0.0 < sample_ratio <= 1.0:
        raise ConfigError(f"similarity.sample_ratio is {sample_ratio}; it must lie in (0, 1].")
    if not vmin < vmax:
        raise ConfigError(f"similarity.vmin is {vmin} and vmax {vmax}; vmin must be the smaller.")
