"""Intensities between 0 and 1 in every image, as preprocessing leaves them."""

from __future__ import annotations

import torch
from torch import Tensor


def unit_range(image: Tensor) -> Tensor:
    """Every channel of every sample mapped from its minimum and maximum to 0 and 1.

    Args:
        image: (N, C, *S), any range; a channel without contrast becomes 0.

    Returns:
        (N, C, *S).
    """
    axes = tuple(range(2, image.ndim))
    low, high = image.amin(axes, keepdim=True), image.amax(axes, keepdim=True)
    span = high - low
    return (image - low) / torch.where(span > 1e-8, span, 1.0)
