"""Does a map find the errors? Area under the ROC curve, beside a map of chance and one that knows only the image."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medreg.geometry.derivatives import central_difference
from medreg.metrics.rows import MetricRow, row
from medreg.metrics.uncertainty.intervals import Numbers


def auroc(score: Numbers, positive: NDArray[np.bool_]) -> float:
    """Probability that a wrong voxel scores higher than a right one, ties as one half; NaN without one of both.

    Args:
        score: (n,), higher where an error is expected.
        positive: (n,) whether there is one.

    Source: J. Hanley and B. McNeil, Radiology 143, 1982 (the statistic of Mann and Whitney).
    """
    from scipy.stats import rankdata

    wrong, right = int(positive.sum()), int((~positive).sum())
    if not wrong or not right:
        return math.nan
    ranks = rankdata(score)
    return float((ranks[positive].sum() - wrong * (wrong + 1) / 2) / (wrong * right))


def gradient_size(image: Tensor, spacing_mm: Tensor) -> Tensor:
    """‖∇ image‖ per mm by central differences, (N, 1, *S) → the same."""
    parts = [
        central_difference(image.double(), axis) / float(spacing_mm[axis]) for axis in range(image.ndim - 2)
    ]
    return torch.stack(parts).square().sum(0).sqrt()


def detection_rows(
    uncertainty: Tensor,
    wrong: Tensor,
    image: Tensor,
    *,
    spacing_mm: Tensor,
    mask: Tensor | None = None,
    seed: int = 0,
) -> list[MetricRow]:
    """AUROC of an uncertainty for errors, of a random map and of the image gradient beside it.

    Errors of labels lie where structures end, and there the image has edges: an uncertainty that finds no more than the
    gradient does has learnt nothing of the registration.

    Args:
        uncertainty: (N, 1, *S).
        wrong: (N, 1, *S) bool, such as warped label ≠ fixed label.
        image: (N, 1, *S) fixed image.
        spacing_mm: (D,).
        mask: (N, 1, *S), where errors count, such as a band around structures.
        seed: of the random map.
    """
    kept = torch.ones_like(wrong, dtype=torch.bool) if mask is None else mask != 0
    chance = torch.rand(uncertainty.shape, generator=torch.Generator().manual_seed(seed))
    maps = {
        "auroc_sd": uncertainty,
        "auroc_random": chance.to(uncertainty.device),
        "auroc_gradient": gradient_size(image, spacing_mm),
    }
    errors = wrong[kept].bool().cpu().numpy()
    return [
        row("all", name, auroc(score[kept].double().cpu().numpy(), errors)) for name, score in maps.items()
    ]
