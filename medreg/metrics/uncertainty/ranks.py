"""Where the truth falls among the samples: rank histograms, their coverage, and how far they are from uniform."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from medreg.metrics.uncertainty.intervals import LEVELS, Coverage, Numbers

BINS = 20  # of histograms of the probability integral transform


def rank_of(samples: Tensor, truth: Tensor) -> Tensor:
    """Return how many samples lie below the truth, 0 … K; of samples equal to it every second one.

    Args:
        samples: (K, *shape).
        truth: (*shape).

    Returns:
        (*shape) int64.
    """
    below = (samples < truth).sum(dim=0)
    return below + torch.div((samples == truth).sum(dim=0), 2, rounding_mode="floor")


def rank_counts(ranks: Tensor, samples: int) -> Numbers:
    """Return (K + 1,) how often each rank 0 … K occurs.

    Raises:
        ValueError: a rank outside.
    """
    flat = ranks.detach().flatten().long().cpu()
    if flat.numel() and (int(flat.min()) < 0 or int(flat.max()) > samples):
        raise ValueError(f"ranks among {samples} samples lie in 0 … {samples}, got up to {int(flat.max())}")
    return torch.bincount(flat, minlength=samples + 1).double().numpy()


def rank_coverage(counts: Numbers, levels: Numbers = LEVELS) -> Coverage:
    """Coverage of central intervals, exact for any number of samples.

    Rank r says that the probability integral transform lies in [r, r + 1]/(K + 1), anywhere with equal probability.
    Each counts with the share of that interval that lies in [(1 − p)/2, (1 + p)/2], so that uniform ranks
    have coverage p whatever K is.

    Args:
        counts: (K + 1,) of `rank_counts`.
        levels: nominal probabilities.

    Source: C. Czado, T. Gneiting, L. Held, Predictive model assessment for count data, Biometrics 65, 2009.
    """
    edges = np.arange(len(counts) + 1) / len(counts)
    low, high = (1 - levels[:, None]) / 2, (1 + levels[:, None]) / 2
    inside = np.clip(np.minimum(edges[1:], high) - np.maximum(edges[:-1], low), 0, None) * len(counts)
    return Coverage(levels, inside @ counts, float(counts.sum()))


def interval_coverage(samples: Tensor, truth: Tensor, levels: Numbers = LEVELS) -> Coverage:
    """Count the truths between the (1 − p)/2 and (1 + p)/2 quantiles of samples, by their ranks.

    Args:
        samples: (K, *shape).
        truth: (*shape).
        levels: nominal probabilities.
    """
    return rank_coverage(rank_counts(rank_of(samples, truth), len(samples)), levels)


def histogram(counts: Numbers, bins: int = BINS) -> Numbers:
    """Counts of ranks as a histogram over equal parts of [0, 1]; a rank that lies in two parts is divided.

    Args:
        counts: (K + 1,) of `rank_counts`.
        bins: number of parts.
    """
    edges = np.arange(len(counts) + 1) / len(counts)
    parts = np.arange(bins + 1) / bins
    return np.asarray(np.diff(np.interp(parts, edges, np.concatenate([[0.0], np.cumsum(counts)]))))


def gaussian_histogram(z: Tensor, bins: int = BINS) -> Numbers:
    """Histogram of the probability integral transform Φ(z) over equal parts of [0, 1]."""
    transform = torch.special.ndtr(z.detach().double()).flatten().cpu()
    place = (transform * bins).long().clamp(0, bins - 1)
    return torch.bincount(place, minlength=bins).double().numpy()


def deviation(counts: Numbers) -> float:
    """Distance of a histogram from uniform, ½ Σ |share − 1/B|, in [0, 1]: the share that would have to move.

    Ranks of neighbouring voxels depend on one another, so that no p value belongs to a histogram of voxels; compare the
    number with its error over cases. For independent ranks see `uniformity`.
    """
    total = counts.sum()
    return float(0.5 * np.abs(counts / total - 1 / len(counts)).sum()) if total else float("nan")


def uniformity(counts: Numbers) -> tuple[float, float]:
    """Pearson's χ² of a histogram of *independent* ranks against the uniform one, and its p value.

    Source: S. Talts et al., Validating Bayesian inference algorithms with simulation-based calibration, 2018.
    """
    from scipy.stats import chisquare

    found = chisquare(counts)
    return float(found.statistic), float(found.pvalue)
