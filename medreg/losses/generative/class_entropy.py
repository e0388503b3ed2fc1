"""Cross-entropy from class numbers of one byte, without an array of ones and zeros and without one of logarithms."""

from __future__ import annotations

import torch
from torch import Tensor


def class_entropy(scores: Tensor, classes: Tensor, weights: tuple[float, ...] | None) -> Tensor:
    """Return the mean over hearts and voxels of −log softmax(scores)[class], in nats.

    Args:
        scores: (N, C, *S) before the softmax.
        classes: (N, *S) uint8.
        weights: of the classes, for a weighted mean; None: 1 each.
    """
    given = None if weights is None else torch.tensor(weights, device=scores.device)
    return torch.nn.functional.cross_entropy(scores.float(), classes.long(), weight=given)
