"""Difference of intensities between the fixed and the warped image."""

from __future__ import annotations

from torch import Tensor

from medreg.metrics.masking import masked_mean


def rmse(fixed: Tensor, warped: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """Root mean squared intensity difference √(mean_x (F(x) − W(x))²) of each item.

    Args:
        fixed: (B, C, *S) intensities.
        warped: (B, C, *S) intensities.
        mask: (B, 1, *S), non-zero where a voxel counts.

    Returns:
        (B,) float64, in units of intensity.
    """
    squared = (fixed.float() - warped.float()).square().mean(dim=1)
    return masked_mean(squared, mask).sqrt()
