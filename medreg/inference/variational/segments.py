"""Several tensors in one flat vector: numbers of each of them (segment)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

# Stands for the RMS of a tensor that starts as zeros, such as a bias; Le Folgoc et al., released engine.
SMALLEST_LEVEL = 1e-3


def sums(values: Tensor, segments: Sequence[int]) -> Tensor:
    """Over each segment: (…, D) → (…, T)."""
    return torch.stack([part.sum(-1) for part in values.split(list(segments), dim=-1)], dim=-1)


def spread(values: Tensor, segments: Sequence[int]) -> Tensor:
    """One number a segment repeated over it: (…, T) → (…, D)."""
    counts = torch.tensor(list(segments), device=values.device)
    return values.repeat_interleave(counts, dim=-1)


def root_mean_squares(values: Tensor, segments: Sequence[int], level: float) -> Tensor:
    """`level` × RMS of every segment, (…, T); `level` × 10⁻³ where it is zero."""
    counts = torch.tensor(list(segments), device=values.device, dtype=values.dtype)
    scale = (sums(values.square(), segments) / counts).sqrt()
    return level * torch.where(scale > 0, scale, torch.full_like(scale, SMALLEST_LEVEL))
