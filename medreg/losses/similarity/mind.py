"""Modality independent neighbourhood descriptors in self-similarity context (MIND-SSC)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, product

import torch
from torch import Tensor

from medreg.errors import ConfigError
from medreg.losses.fused import fused
from medreg.losses.reduction import masked_mean
from medreg.losses.similarity.base import Similarity
from medreg.losses.similarity.mind_lean import DescriptorDifference
from medreg.losses.similarity.window import box_sum

_EPS = 1e-6  # added to the local variance, squared intensities
_LOWEST, _HIGHEST = 1e-3, 1e3  # bounds of the local variance as multiples of its mean (the author's code)


def context_pairs(ndim: int) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Pairs of the 2·D direct neighbours of a voxel that are √2 apart: 4 pairs in 2-D, 12 in 3-D."""
    neighbours = [offset for offset in product((-1, 0, 1), repeat=ndim) if sum(map(abs, offset)) == 1]
    return [
        (a, b)
        for a, b in combinations(neighbours, 2)
        if sum((p - q) ** 2 for p, q in zip(a, b, strict=True)) == 2
    ]


def mind_ssc(
    image: Tensor, *, radius: int, dilation: int, mask: Tensor | None = None, eps: float = _EPS
) -> Tensor:
    """exp(−(d_p − min d)/V) of patch distances d_p, with V the mean over p of d_p − min d.

    d_p(x) is the mean squared difference of the patches around the two neighbours of x that make pair p.

    Args:
        image: (B, C, *S); each channel gets its own descriptor.
        radius: half width of the patches, voxels.
        dilation: distance of the neighbours from the voxel, voxels.
        mask: (B, 1, *S); differences that involve a voxel outside image or mask are left out of d_p.
        eps: added to V, squared intensities.

    Returns:
        (B, C·P, *S), P = 4 in 2-D and 12 in 3-D.
    """
    inside = torch.ones_like(image[:, :1]) if mask is None else (mask > 0).to(image)
    distances = torch.stack(list(_patch_distances(image, inside, radius, dilation)), 2)
    distances = distances - distances.amin(2, keepdim=True)
    variance = distances.mean(2, keepdim=True)
    typical = masked_mean(variance.flatten(1, 2), inside).detach().view(-1, *[1] * (distances.ndim - 1))
    variance = variance.clamp(_LOWEST * typical, _HIGHEST * typical) + eps
    return (-distances / variance).exp().flatten(1, 2)


def _patch_distances(image: Tensor, inside: Tensor, radius: int, dilation: int) -> Iterator[Tensor]:
    """Mean of (I(x + a) − I(x + b))² over the patch, (B, C, *S), for each pair (a, b)."""
    window = 2 * radius + 1
    for a, b in context_pairs(image.ndim - 2):
        seen = _shifted(inside, a, dilation) * _shifted(inside, b, dilation)
        squared = (_shifted(image, a, dilation) - _shifted(image, b, dilation)).square() * seen
        yield box_sum(squared, window) / box_sum(seen, window).clamp_min(1.0)


def _shifted(image: Tensor, offset: tuple[int, ...], dilation: int) -> Tensor:
    """image(x + dilation·offset), 0 where that lies outside."""
    for axis, step in enumerate(offset, start=2):
        distance = min(abs(step) * dilation, image.shape[axis])
        if distance == 0:
            continue
        kept = image.shape[axis] - distance
        gap = torch.zeros_like(image.narrow(axis, 0, distance))
        if step > 0:
            image = torch.cat([image.narrow(axis, distance, kept), gap], axis)
        else:
            image = torch.cat([gap, image.narrow(axis, 0, kept)], axis)
    return image


class MINDSSC(Similarity):
    """D = mean over voxels and descriptor channels of (MIND(w) − MIND(f))².

    Heinrich et al., Towards Realtime Multimodal Fusion …, MICCAI 2013.

    Deviation: neighbours outside the image are left out, where the author's code repeats border voxels; the
    bounds of the variance come from each sample and not from the whole batch.

    Args:
        radius: half width of the patches, voxels.
        dilation: distance of the neighbours from the voxel, voxels.
        weight: factor in the energy.
    """

    def __init__(self, *, radius: int, dilation: int, weight: float) -> None:
        super().__init__(weight=weight)
        if radius < 0 or dilation < 1:
            raise ConfigError(
                f"similarity.radius is {radius} and dilation {dilation}; choose radius ≥ 0 and dilation ≥ 1."
            )
        self.radius = radius
        self.dilation = dilation

    def compare(self, warped: Tensor, fixed: Tensor, mask: Tensor | None) -> Tensor:
        """Return the (B,) mean squared difference of the descriptors."""
        pairs = context_pairs(fixed.ndim - 2)
        bounds = (_LOWEST, _HIGHEST)

        def formula(warped: Tensor, fixed: Tensor) -> Tensor:
            w = mind_ssc(warped, radius=self.radius, dilation=self.dilation, mask=mask, eps=_EPS)
            f = mind_ssc(fixed, radius=self.radius, dilation=self.dilation, mask=mask, eps=_EPS)
            return masked_mean((w - f).square(), mask)

        lean = DescriptorDifference(formula, pairs, self.radius, self.dilation, bounds, _EPS, mask)
        return fused(lean, warped, fixed)
