"""A Gaussian prediction in every voxel and the truth: z-scores, continuous ranked probability score, ellipsoids."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def z_scores(mean: Tensor, std: Tensor, truth: Tensor) -> Tensor:
    """Return (truth − mean) / std, any shape, float64.

    A standard deviation of zero says that the prediction is certain: z is 0 where it is right, else infinite.
    """
    error = truth.double() - mean.double()
    z = error / std.double()
    return torch.where(error == 0, torch.zeros_like(z), z)


def crps_gaussian(mean: Tensor, std: Tensor, truth: Tensor) -> Tensor:
    """Continuous ranked probability score of N(mean, std²), σ [z (2Φ(z) − 1) + 2φ(z) − 1/√π], in the unit of the mean.

    The limit of std = 0 is the absolute error.

    Source: T. Gneiting and A. Raftery, Strictly proper scoring rules, JASA 102, 2007, equation 21.
    """
    error, sigma = truth.double() - mean.double(), std.double()
    z = z_scores(mean, std, truth)
    score = sigma * (z * torch.erf(z / math.sqrt(2)) + math.sqrt(2 / math.pi) * torch.exp(-0.5 * z.square()))
    return torch.where(sigma > 0, score - sigma / math.sqrt(math.pi), error.abs())


def crps_samples(samples: Tensor, truth: Tensor) -> Tensor:
    """Continuous ranked probability score of an ensemble, mean |x − y| − ½ mean |x − x'| over distinct members.

    This is the fair form: its expectation is the score of the distribution that the members come from, whatever K is.

    Args:
        samples: (K, *shape), K ≥ 2.
        truth: (*shape).

    Returns:
        (*shape) float64, in the unit of the samples.

    Source: C. Ferro, Fair scores for ensemble forecasts, QJRMS 140, 2014.
    """
    members = samples.double().sort(dim=0).values
    count = len(members)
    # Σ over pairs of |x_i − x_j| of sorted members is Σ (2i − K + 1) x_i, so that no K × K table is needed
    weights = torch.arange(count, dtype=torch.float64, device=members.device) * 2 - (count - 1)
    spread = torch.tensordot(weights, members, dims=1) / (count * (count - 1))
    return (members - truth.double()).abs().mean(dim=0) - spread


def nees(error: Tensor, covariance: Tensor) -> Tensor:
    """Normalised estimation error squared, eᵀ C⁻¹ e / D in every voxel; its mean is 1 where C is the truth.

    A covariance that is singular has a certain direction: an error along it gives infinity, none adds nothing.
    Of K samples the sample covariance makes the mean (K − 1)/(K − D − 2) for a Gaussian truth of the same law, see
    `expected_nees`.

    Args:
        error: (N, D, *S).
        covariance: (N, D, D, *S), in the unit of the error squared.

    Returns:
        (N, *S) float64.

    Source: Y. Bar-Shalom, X. Li, T. Kirubarajan, Estimation with Applications to Tracking and Navigation, 2001, 5.4.
    """
    values, vectors = torch.linalg.eigh(covariance.double().movedim((1, 2), (-2, -1)))
    along = (vectors.mT @ error.double().movedim(1, -1).unsqueeze(-1)).squeeze(-1).square()
    smallest = values[..., -1:].clamp_min(0) * 1e-12
    certain = values <= smallest
    at_all = error.double().square().sum(1).unsqueeze(-1)
    missed = along > 1e-12 * at_all
    ratio = torch.where(certain, torch.where(missed, math.inf, 0.0), along / values.clamp_min(1e-300))
    return ratio.mean(-1)


def expected_nees(samples: int, dimensions: int) -> float:
    """Mean of `nees` of a perfect sampler whose mean and covariance come from K samples; infinite for K ≤ D + 2.

    (1 + 1/K) (K − 1)/(K − D − 2): the mean of the samples errs by C/K, and E[Ĉ⁻¹] = C⁻¹ (K − 1)/(K − D − 2).
    """
    spare = samples - dimensions - 2
    return (1 + 1 / samples) * (samples - 1) / spare if spare > 0 else math.inf
