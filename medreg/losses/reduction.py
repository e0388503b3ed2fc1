"""Averages over the voxels of each sample, with masks."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from medreg.errors import ConfigError


def masked_mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """Mean over channels and voxels of each sample: Σ m·v / (C·Σ m).

    Args:
        values: (B, C, *S).
        mask: (B, 1, *S) weights in [0, 1], or None for all voxels.

    Returns:
        (B,); 0 for a sample whose mask is empty.
    """
    if mask is None:
        return values.flatten(1).mean(1)
    mask = mask.to(values)
    total = (values.masked_fill(mask == 0, 0.0) * mask).flatten(1).sum(1)
    count = values.shape[1] * mask.flatten(1).sum(1)
    return torch.where(count > 0, total / count.masked_fill(count == 0, 1.0), 0.0)


def checked_weight(weight: float, name: str) -> float:
    """Return the weight of a term of the energy.

    Raises:
        ConfigError: it is negative, which would reward what the term measures, or not finite.
    """
    if isinstance(weight, int | float) and not (math.isfinite(weight) and weight >= 0):
        raise ConfigError(f"{name}.weight is {weight:g}; a weight is a finite number, 0 or more.")
    return weight
