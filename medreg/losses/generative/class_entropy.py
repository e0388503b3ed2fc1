"""Cross-entropy from class numbers of one byte, without an array of ones and zeros and without one of logarithms."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_AT_ONCE = 2**16  # voxels whose probabilities are made at a time, which a cache holds


def class_entropy(scores: Tensor, classes: Tensor, weights: tuple[float, ...] | None) -> Tensor:
    """Return the mean over hearts and voxels of −log softmax(scores)[class], in nats.

    It is torch's cross-entropy, but for rounding; beside scores and classes it keeps nothing for the backward pass, and
    the gradient is laid out as the scores are. Torch keeps the logarithms and eight bytes a class, and the gradient has
    to be turned: at full size that is more than twice the memory, and slower.

    Args:
        scores: (N, C, *S) before the softmax, of any floating type; sums are made in single precision at least.
        classes: (N, *S) uint8.
        weights: of the classes, for a weighted mean; None: 1 each.
    """
    given = None if weights is None else torch.tensor(weights, device=scores.device)
    found: Tensor = _ClassEntropy.apply(scores, classes, given)
    return found


class _ClassEntropy(torch.autograd.Function):
    """The mean forward, softmax − one-hot backward, some voxels at a time."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, classes: Tensor, weights: Tensor | None) -> Tensor:
        total = torch.zeros((), dtype=torch.float64, device=scores.device)
        share = total.clone()
        for part, true in zip(_parts(scores), _parts(classes.unsqueeze(1)), strict=True):
            places = true.long()
            missed = part.float().contiguous().log_softmax(1).gather(1, places)
            factor = None if weights is None else weights[places]
            total -= (missed if factor is None else missed * factor).sum(dtype=torch.float64)
            share += places.numel() if factor is None else factor.sum(dtype=torch.float64)
        ctx.save_for_backward(scores, classes, weights, share)
        return (total / share).float()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        scores, classes, weights, share = ctx.saved_tensors
        found, factor = torch.empty_like(scores), (gradient / share).float()
        each = zip(_parts(scores), _parts(classes.unsqueeze(1)), _parts(found), strict=True)
        for part, true, out in each:
            places = true.long()
            apart = part.float().contiguous().softmax(1)
            apart.scatter_add_(1, places, apart.new_full((1,), -1.0).expand(places.shape))
            out.copy_(apart.mul_(factor if weights is None else factor * weights[places]))
        return found, None, None


def _parts(values: Tensor) -> Iterator[Tensor]:
    """Pieces of (N, C, *S), some hearts or slabs of one."""
    voxels = values[0, 0].numel()
    slabs = max(1, voxels // _AT_ONCE)
    for some in values.split(max(1, _AT_ONCE // voxels)):
        yield from some.chunk(slabs, 2)
