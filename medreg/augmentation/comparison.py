"""What an adversary maximises: the divergence between predictions of an image and of its transformation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from medreg.augmentation.chain import Chain, Parameters, seen
from medreg.augmentation.intensity import Intensity
from medreg.augmentation.member import lowest
from medreg.errors import DataError, require_number, require_whole
from medreg.losses.segmentation.consistency import Consistency

SMOOTHED = 1e-8  # of labels as probabilities, as released


class Judged(NamedTuple):
    """Divergence of every sample (N,), and what was compared: reference (N, K, *S) scores, mask (N, 1, *S)."""

    divergence: Tensor
    reference: Tensor
    mask: Tensor


@dataclass(frozen=True)
class Region:
    """Where predictions are compared, from ones that were sent forward and back.

    Attributes:
        above: a voxel counts where more than this came back. 0 is the authors' rule; 0.999 leaves out what mixes with
            the outside of the image.
        margin: voxels by which the region is eroded.
    """

    above: float = 0.0
    margin: int = 0

    def __post_init__(self) -> None:
        require_number("region.above", self.above, least=0)
        require_whole("region.margin", self.margin, 0)


@dataclass(frozen=True)
class Comparison:
    """Clean images, what is expected of them, and how the answer to a transformed image is held against it.

    What returns from a transformation is the scores, by linear interpolation. The reference of labels is one-hot.

    Attributes:
        clean: (N, C, *S) images.
        expected: (N, K, *S) scores of the clean images, or their one-hot labels.
        labelled: whether they are labels.
        warped: whether the reference is sent forward and back, too, so that both sides are equally blurred.
        consistency: D.
        intensity: of transformed images.
        region: where predictions are compared.
        ignore_background: whether photometric members leave the smallest intensity of each clean image alone.
    """

    clean: Tensor
    expected: Tensor
    labelled: bool
    warped: bool
    consistency: Consistency
    intensity: Intensity
    region: Region
    ignore_background: bool = False

    def transformed(self, chain: Chain, parameters: Parameters) -> tuple[Tensor, Tensor | None]:
        """The transformed images, and what travels with them to be compared; None where nothing moves."""
        fellows = None
        if chain.moves:
            ones = torch.ones_like(self.clean[:, :1])
            fellows = torch.cat((self.expected, ones), 1) if self.warped else ones
        floor = lowest(self.clean) if self.ignore_background else None
        image, fellows = chain.carry(self.clean, fellows, parameters, background=floor)
        return self.intensity.keep(image, self.clean), fellows

    def compared(
        self, chain: Chain, parameters: Parameters, scores: Tensor, fellows: Tensor | None
    ) -> Judged:
        """Judge the scores (N, K, *S) of transformed images, in the frame of the clean ones."""
        expected, mask = self.expected, None
        if fellows is not None:
            classes = scores.shape[1]
            back = chain.invert(torch.cat((scores, fellows), 1), parameters)
            scores, mask = back[:, :classes], back[:, -1:]
            expected = back[:, classes:-1] if self.warped else expected
            mask = seen(mask, above=self.region.above, margin=self.region.margin)
        reference = _logarithms(expected) if self.labelled else expected
        divergence = self.consistency.per_sample(reference, scores, mask)
        return Judged(divergence, reference, torch.ones_like(scores[:, :1]) if mask is None else mask)


def _logarithms(probabilities: Tensor) -> Tensor:
    return probabilities.clamp(SMOOTHED, 1 - SMOOTHED).log()


def one_hot(labels: Tensor, *, classes: int, like: Tensor) -> Tensor:
    """(N, K, *S) probabilities of labels.

    Args:
        labels: (N, K, *S) one-hot or soft, or whole numbers (N, 1, *S) or (N, *S).
        classes: K.
        like: images (N, C, *S).

    Raises:
        DataError: labels on another grid, or of another class.
    """
    if labels.ndim == like.ndim - 1:
        labels = labels.unsqueeze(1)
    if labels.shape[0] != like.shape[0] or labels.shape[2:] != like.shape[2:]:
        raise DataError(
            f"Labels have shape {tuple(labels.shape)} and images {tuple(like.shape)}; give labels of the same samples "
            "on the same grid."
        )
    if labels.shape[1] == classes and classes > 1:
        return labels.to(like)
    if labels.shape[1] != 1:
        raise DataError(
            f"Labels have {labels.shape[1]} channels, but the network tells {classes} classes apart."
        )
    codes = labels[:, 0].long()
    low, high = int(codes.min()), int(codes.max())
    if low < 0 or high >= classes:
        raise DataError(
            f"Labels go from {low} to {high}, but the network tells {classes} classes apart, 0 to {classes - 1}; "
            "recode the labels or give the network more outputs."
        )
    return torch.nn.functional.one_hot(codes, classes).movedim(-1, 1).to(like)


def structures(labels: Tensor, *, like: Tensor) -> Tensor:
    """(N, 1, *S), 1 where labels (as for `one_hot`) are not background."""
    labels = labels.unsqueeze(1) if labels.ndim == like.ndim - 1 else labels
    inside = labels > 0 if labels.shape[1] == 1 else labels.argmax(1, keepdim=True) > 0
    return inside.to(like)
