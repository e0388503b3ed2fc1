"""Mean over the voxels of each item that a mask keeps."""

from __future__ import annotations

import torch
from torch import Tensor


def masked_mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """Mean over space of each item of the batch, over all voxels or over those of the mask.

    Args:
        values: (B, *S), any dtype; averaged in float64 so that large volumes lose no digits.
        mask: (B, 1, *S), non-zero where a voxel counts, or None for all.

    Returns:
        (B,) float64; NaN where the mask keeps nothing.
    """
    flat = values.flatten(1)
    if mask is None and values.dtype == torch.bool:
        return flat.count_nonzero(dim=1).double() / flat.shape[1]
    if mask is None:
        return flat.mean(dim=1, dtype=torch.float64)
    keep = mask.flatten(1) != 0
    return flat.masked_fill(~keep, 0).sum(dim=1, dtype=torch.float64) / keep.sum(dim=1)
