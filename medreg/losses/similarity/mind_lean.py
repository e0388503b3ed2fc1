"""Mean squared difference of MIND-SSC descriptors with its gradient, three stacks of descriptors in memory at most.

The chain rule of `mind.mind_ssc` written out: with distances d_p, y_p = d_p − min d, V = clip(mean y) + ε and
e_p = exp(−y_p/V),

    ∂/∂y_p = −g_p e_p/V + [not clipped] Σ_q g_q e_q y_q/(V² P),    ∂/∂d_p = ∂/∂y_p − [p minimal] Σ_q ∂/∂y_q,

and each distance is a box sum of squared differences of two shifts of the image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medreg.losses.fused import Evaluation
from medreg.losses.reduction import masked_mean
from medreg.losses.similarity.window import box_sum

Pair = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class DescriptorDifference:
    """mean (e(w) − e(f))² of the descriptors of two images.

    Attributes:
        formula: the same in plain operations.
        pairs: neighbours whose patches are compared.
        radius: half width of the patches, voxels.
        dilation: distance of the neighbours, voxels.
        bounds: lowest and highest V as multiples of its mean.
        eps: added to V.
        mask: (B, 1, *S) or None.
    """

    formula: Callable[..., Tensor]
    pairs: Sequence[Pair]
    radius: int
    dilation: int
    bounds: tuple[float, float]
    eps: float
    mask: Tensor | None

    def evaluate(self, inputs: Sequence[Tensor], wanted: Sequence[bool]) -> Evaluation:
        """Return values and gradients, working in place on the stacks."""
        with torch.no_grad():
            images = [image.detach() for image in inputs]
            first, second = (self._descriptor(image) for image in images)
            difference = first.values - second.values
            values = masked_mean(difference.flatten(1, 2).square(), self.mask)
            difference.mul_(2.0 * self._share(difference))
            gradients: list[Tensor | None] = [None, None]
            for n, found in enumerate((first, second)):
                if wanted[n]:
                    sign = 1.0 - 2.0 * n
                    gradients[n] = self._to_image(images[n], found.to_distances(difference * sign))
            return Evaluation(values, tuple(gradients))

    def _share(self, difference: Tensor) -> Tensor:
        """Weight of each voxel of the mean, to be broadcast over (B, C, P, *S)."""
        number = difference.shape[1] * difference.shape[2]
        if self.mask is None:
            return difference.new_full((), 1.0 / difference[0].numel())
        mask = self.mask.unsqueeze(2)
        count = mask.flatten(1).sum(1).view(-1, *[1] * (mask.ndim - 1))
        return torch.where(count > 0, mask / (number * count.masked_fill(count == 0, 1.0)), 0.0)

    def _descriptor(self, image: Tensor) -> _Descriptor:
        excess = image.new_empty(*image.shape[:2], len(self.pairs), *image.shape[2:])
        for p, pair in enumerate(self.pairs):
            squared = self._shifts(image, pair).square()
            torch.mul(
                box_sum(squared, 2 * self.radius + 1), self._inverse_count(image, pair), out=excess[:, :, p]
            )
        excess.sub_(excess.amin(2, keepdim=True))
        mean = excess.mean(2, keepdim=True)
        inside = None if self.mask is None else (self.mask > 0).to(image)
        typical = masked_mean(mean.flatten(1, 2), inside).view(-1, *[1] * (excess.ndim - 1))
        low, high = (bound * typical for bound in self.bounds)
        scale = mean.clamp(low, high).add_(self.eps)
        free = ((mean >= low) & (mean <= high)).to(image)
        return _Descriptor(excess, scale, free, torch.div(excess, scale).neg_().exp_())

    def _to_image(self, image: Tensor, to_distances: Tensor) -> Tensor:
        gradient = torch.zeros_like(image)
        for p, pair in enumerate(self.pairs):
            back = box_sum(to_distances[:, :, p] * self._inverse_count(image, pair), 2 * self.radius + 1)
            back.mul_(self._shifts(image, pair)).mul_(2.0)
            inside, first, second = _regions(image.shape[2:], pair, self.dilation)
            gradient[first].add_(back[inside])
            gradient[second].sub_(back[inside])
        return gradient

    def _shifts(self, image: Tensor, pair: Pair) -> Tensor:
        """I(x + a) − I(x + b), 0 where either is outside image or mask."""
        inside, first, second = _regions(image.shape[2:], pair, self.dilation)
        result = torch.zeros_like(image)
        torch.sub(image[first], image[second], out=result[inside])
        if self.mask is not None:
            seen = (self.mask > 0).to(image)
            result[inside].mul_(seen[first]).mul_(seen[second])
        return result

    def _inverse_count(self, image: Tensor, pair: Pair) -> Tensor:
        """1 / number of voxels of the patch whose both neighbours are inside, (B or 1, 1, *S)."""
        inside, first, second = _regions(image.shape[2:], pair, self.dilation)
        if self.mask is None:
            counted = torch.zeros_like(image[:1, :1])
            counted[inside] = 1.0
        else:
            seen = (self.mask > 0).to(image)
            counted = torch.zeros_like(seen)
            counted[inside] = seen[first] * seen[second]
        return box_sum(counted, 2 * self.radius + 1).clamp_min_(1.0).reciprocal_()


@dataclass(frozen=True)
class _Descriptor:
    excess: Tensor  # y, (B, C, P, *S)
    scale: Tensor  # V, (B, C, 1, *S)
    free: Tensor  # 1 where V is not clipped
    values: Tensor  # e, (B, C, P, *S)

    def to_distances(self, upstream: Tensor) -> Tensor:
        """Derivative by d_p of Σ g e; the upstream g is used up."""
        weighted = upstream.mul_(self.values).div_(self.scale)
        of_scale = (weighted * self.excess).sum(2, keepdim=True).div_(self.scale)
        result = weighted.neg_().add_(of_scale.mul_(self.free).div_(weighted.shape[2]))
        minimal = (self.excess == 0).to(result)
        minimal.div_(minimal.sum(2, keepdim=True)).mul_(result.sum(2, keepdim=True))
        return result.sub_(minimal)


def _regions(
    shape: Sequence[int], pair: Pair, dilation: int
) -> tuple[tuple[slice, ...], tuple[slice, ...], tuple[slice, ...]]:
    """Voxels x with both x + a and x + b inside, and these two shifts of them, as indices of (B, C, *S)."""
    inside, shifted = [], []
    for size, *steps in zip(shape, *pair, strict=True):
        moves = [dilation * step for step in steps]
        low, high = max(0, *(-move for move in moves)), min(size, *(size - move for move in moves))
        high = max(low, high)
        inside.append(slice(low, high))
        shifted.append([slice(low + move, high + move) if high > low else slice(0, 0) for move in moves])
    every = (slice(None), slice(None))
    first, second = ((*every, *(both[n] for both in shifted)) for n in (0, 1))
    return (*every, *inside), first, second
