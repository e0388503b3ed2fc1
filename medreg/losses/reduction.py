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


def precise(device: torch.device) -> torch.dtype:
    """Return the dtype in which sums over voxels are kept: float64 where the device has it."""
    return torch.float32 if device.type == "mps" else torch.float64


def masked_sum(values: Tensor, mask: Tensor | None) -> Tensor:
    """Sum over channels and voxels of each sample, Σ m·v, added up in double precision.

    Args:
        values: (B, C, *S).
        mask: (B or 1, 1, *S) weights in [0, 1], or None for all voxels.

    Returns:
        (B,) in the dtype of `precise`.
    """
    if mask is not None:
        values = values.masked_fill(mask == 0, 0.0) * mask.to(values)
    return values.flatten(1).sum(1, dtype=precise(values.device))


def voxel_count(image: Tensor, mask: Tensor | None) -> Tensor:
    """Number of values that a masked sum over (B, C, *S) adds up, C·Σ m, (B or 1,) in the dtype of `precise`."""
    kind = precise(image.device)
    if mask is None:
        return torch.full((1,), float(math.prod(image.shape[1:])), dtype=kind, device=image.device)
    return image.shape[1] * mask.flatten(1).sum(1, dtype=kind)
