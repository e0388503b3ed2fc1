"""How far two predictions of one segmentation are apart, inside the region that both have seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from medreg.errors import CompositionError, DataError, require_choice, require_number
from medreg.geometry.precision import at_least_single
from medreg.losses.segmentation.sobel import sobel


@dataclass(frozen=True)
class Consistency:
    """D(p, q) of class probabilities p (reference) and q: weight·(KL or MSE) + contour·(difference of Sobel maps).

    With mask m, V voxels and C classes, class 0 the background, and means over samples:

        KL      = 1/V Σ m Σ_c p (log p − log q)
        MSE     = 1/V Σ m Σ_c (p − q)²
        contour = 1/V Σ m mean_k mean_{c>0} (S_k[m p] − S_k[m q])²,   k over the axes

    The defaults are those of the authors' experiment for labelled images. Chen et al., Enhancing MR Image
    Segmentation with Realistic Adversarial Data Augmentation, MedIA 2022 (code cherise215/advchain ed5cd70, `loss.py`).

    Attributes:
        divergence: "kl" or "mse".
        weight: of the divergence.
        contour: of the contour term.
        normalise: V is the number of voxels of the "image", so that a smaller mask means a smaller loss (the
            authors' form), or of the "mask", so that it does not.
        mse_released: the defect of the release since July 2022, which divides by C·N·V once more: that term is
            about 10⁶ times too small.
        contour_unmasked: the release masks Sobel maps but not probabilities; what lies beside the mask has a say.
        sobel_released: the defect of the release in 3-D, see `sobel`.
    """

    divergence: Literal["kl", "mse"] = "kl"
    weight: float = 1.0
    contour: float = 0.5
    normalise: Literal["image", "mask"] = "image"
    mse_released: bool = False
    contour_unmasked: bool = False
    sobel_released: bool = False

    def __post_init__(self) -> None:
        require_choice("consistency.divergence", self.divergence, ("kl", "mse"))
        require_choice("consistency.normalise", self.normalise, ("image", "mask"))
        require_number("consistency.weight", self.weight, least=0)
        require_number("consistency.contour", self.contour, least=0)

    def __call__(self, reference: Tensor, scores: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the mean over the batch of `per_sample`, a scalar."""
        return self.per_sample(reference, scores, mask).mean()

    def per_sample(self, reference: Tensor, scores: Tensor, mask: Tensor | None = None) -> Tensor:
        """Compare two predictions, in float32 at least.

        Args:
            reference: (N, C, *S) scores before softmax; for known probabilities their logarithm.
            scores: (N, C, *S) scores before softmax.
            mask: (N, 1, *S), 0 or 1; None is 1 everywhere. An empty mask gives 0.

        Returns:
            (N,).

        Raises:
            DataError: the shapes do not match.
            CompositionError: one class only.
        """
        _check(reference, scores, mask)
        with torch.autocast(device_type=scores.device.type, enabled=False):
            log_p = at_least_single(reference).log_softmax(1)
            log_q = at_least_single(scores).log_softmax(1)
            m = torch.ones_like(log_q[:, :1]) if mask is None else mask.to(log_q)
            volume = self._volume(m)
            difference = log_p.exp() - log_q.exp()
            total = log_q.new_zeros(len(log_q))
            if self.weight:
                total = total + self.weight * self._divergence(log_p, log_q, difference, m) / volume
            if self.contour:
                total = total + self.contour * self._contour(difference[:, 1:], m) / volume
            return total

    def _volume(self, mask: Tensor) -> Tensor:
        voxels = torch.full_like(mask[:, 0].flatten(1)[:, 0], mask[0].numel())
        return voxels if self.normalise == "image" else mask.flatten(1).sum(1).clamp_min(1.0)

    def _divergence(self, log_p: Tensor, log_q: Tensor, difference: Tensor, mask: Tensor) -> Tensor:
        if self.divergence == "kl":
            return (mask * (log_p.exp() * (log_p - log_q))).flatten(1).sum(1)
        total = (mask * difference).square().flatten(1).sum(1)
        return total / difference.numel() if self.mse_released else total

    def _contour(self, difference: Tensor, mask: Tensor) -> Tensor:
        """Σ over voxels; the Sobel operator is linear, so one map of the difference serves."""
        seen = difference if self.contour_unmasked else difference * mask
        maps = sobel(seen, blind=self.sobel_released) * mask.unsqueeze(2)
        return maps.square().mean((1, 2)).flatten(1).sum(1)


def _check(reference: Tensor, scores: Tensor, mask: Tensor | None) -> None:
    if reference.shape != scores.shape:
        raise DataError(
            f"The reference has shape {tuple(reference.shape)} and the scores {tuple(scores.shape)}; a consistency "
            "compares predictions of the same images by the same classes."
        )
    if scores.ndim not in (4, 5):
        raise DataError(f"Scores have shape {tuple(scores.shape)}; give (N, C, X, Y) or (N, C, X, Y, Z).")
    if scores.shape[1] < 2:
        raise CompositionError(
            "The network has one output channel, of which softmax makes 1 everywhere; give it a channel for the "
            "background and one for each structure."
        )
    wanted = (scores.shape[0], 1, *scores.shape[2:])
    if mask is not None and tuple(mask.shape) != wanted:
        raise DataError(f"The mask has shape {tuple(mask.shape)}; scores need {wanted}.")
