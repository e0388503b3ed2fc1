"""How far the distribution of a code is from the prior, and what a weight of that means."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Literal

import torch
from torch import Tensor

from medreg.errors import require_choice

Reduction = Literal["mean", "sum"]


def gaussian_divergence(mean: Tensor, log_variance: Tensor, *, reduction: Reduction) -> Tensor:
    """Return KL(N(μ, σ²) ‖ N(0, I)), in nats: −½ (1 + log σ² − μ² − σ²), its mean over hearts.

    Args:
        mean: (B, z).
        log_variance: (B, z).
        reduction: over the latent dimensions: "sum", that of the evidence bound, or "mean" (CHeart, released code).
    """
    require_choice("loss.kl_reduction", reduction, ("mean", "sum"))
    mean, log_variance = mean.float(), log_variance.float()
    each = -0.5 * (1 + log_variance - mean.square() - log_variance.exp())
    return each.mean() if reduction == "mean" else each.sum(1).mean()


def equivalent_beta(
    beta: float, *, frames: int, size: Sequence[int], latent: int, reduction: Reduction
) -> float:
    """Return β*, for which minimising CE + β KL is minimising Σ_(t, voxels) CE + β* KL_sum.

    β* = β T |S| / z where both terms are means, β T |S| where KL is a sum. 1 is the evidence bound. β of another grid
    or another z cannot be compared, β* can.

    Args:
        beta: β.
        frames: T.
        size: S, voxels.
        latent: z.
        reduction: of the divergence over the latent dimensions.
    """
    require_choice("loss.kl_reduction", reduction, ("mean", "sum"))
    return beta * frames * prod(size) / (latent if reduction == "mean" else 1)


def active_dimensions(variance: Tensor, least: float) -> int:
    """Return the number of latent dimensions whose mean varies between hearts by more than a variance.

    Args:
        variance: (z,), of μ over hearts.
        least: such as 0.05.
    """
    return int(torch.count_nonzero(variance > least))
