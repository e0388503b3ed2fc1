"""How much a displacement varies from voxel to voxel, in all or in part of an image."""

from __future__ import annotations

import torch
from torch import Tensor

from medreg.geometry.derivatives import forward_difference


def gradient_energy(displacement: Tensor) -> Tensor:
    """Σ_axes |∂u/∂x_axis|² by forward differences, 0 past the last voxel of an axis.

    Args:
        displacement: (B, D, *S), voxels.

    Returns:
        (B, 1, *S), dimensionless.
    """
    energy = torch.zeros_like(displacement[:, :1])
    for axis in range(displacement.ndim - 2):
        energy += forward_difference(displacement, axis, boundary="replicate").square().sum(1, keepdim=True)
    return energy


def mean_within(values: Tensor, mask: Tensor | None) -> Tensor:
    """Mean of (B, 1, *S) over space, or over a mask (B, 1, *S) alone, (B,); NaN for an empty mask."""
    if mask is None:
        return values.flatten(1).mean(1)
    inside = mask.flatten(1) != 0
    return (values.flatten(1) * inside).sum(1) / inside.sum(1)
