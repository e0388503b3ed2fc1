"""Divergence of a network's distribution of a field from a smoothness prior."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, get_args

import torch
from torch import Tensor

from medreg.errors import require_choice

Form = Literal["exact", "released"]


def smoothness_divergence(
    mean: Tensor, log_variance: Tensor, *, precision: float, form: Form = "exact"
) -> Tensor:
    """KL(N(μ, diag σ²) ‖ N(0, (λL)⁻¹)) over the number of voxels N, but for a constant.

    L = D − A is the Laplacian of the grid, D its degree matrix and A the adjacency of face neighbours, so that
    μᵀLμ = Σ (μ_i − μ_j)² over the pairs of neighbours. Per voxel and summed over components the value is
    ½·(λ d σ² − ln σ²) plus ½·λ·μᵀLμ/N, d the number of neighbours within the grid (6 inside a volume, fewer at its
    borders).

    The released code of VoxelMorph counts every pair half and takes the mean of the axes for their sum: its last
    term is (λ/4)·Σ_k mean[(∂_k μ)²], means over components and pairs, 2·ndim times too small. `released` repeats that.

    Source: Dalca et al., Unsupervised Learning of Probabilistic Diffeomorphic Registration, MedIA 2019, eq. (13);
    `KL` of the released tf/losses.py.

    Args:
        mean: μ (B, D, *S), voxels.
        log_variance: ln σ² (B, D, *S), voxels².
        precision: λ, 1/voxels².
        form: "exact" or "released".

    Returns:
        (B,).

    Raises:
        ConfigError: another form.
    """
    require_choice("model.divergence", form, get_args(Form))
    voxels = mean[0, 0].numel()
    degree = degrees(tuple(mean.shape[2:])).to(mean)
    spread = (precision * degree * log_variance.exp() - log_variance).flatten(1).sum(1) / voxels
    steps = [mean.diff(dim=axis).square().flatten(1) for axis in range(2, mean.ndim)]
    if form == "released":
        rough = 0.5 * torch.stack([step.mean(1) for step in steps if step.shape[1]]).sum(0)
    else:
        rough = torch.stack([step.sum(1) for step in steps]).sum(0) / voxels
    return 0.5 * (spread + precision * rough)


@lru_cache(maxsize=8)
def degrees(shape: Sequence[int]) -> Tensor:
    """Number of face neighbours of every voxel within the grid, (1, 1, *S) float32."""
    with torch.inference_mode(False):
        found = torch.zeros(1, 1, *shape)
        for axis, size in enumerate(shape):
            line = torch.full((size,), 2.0)
            line[0] -= 1
            line[-1] -= 1
            found = found + line.reshape([size if k == axis else 1 for k in range(len(shape))])
    return found
