"""Calibration of predictions of single numbers by their draws: coverage, sharpness, transforms, score."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from medreg.errors import DataError
from medreg.metrics.uncertainty.gaussian import crps_samples
from medreg.metrics.uncertainty.intervals import LEVELS, Coverage, Numbers
from medreg.metrics.uncertainty.ranks import BINS, histogram, rank_counts, rank_coverage, rank_of


@dataclass(frozen=True)
class RegressionCalibration:
    """What draws say of n numbers that are known.

    Attributes:
        coverage: of central intervals.
        transform: histogram of the probability integral transform over 20 parts of [0, 1].
        sharpness: mean standard deviation of the draws, in their unit.
        crps: mean continuous ranked probability score, in their unit.
        rmse: of the mean of the draws.
    """

    coverage: Coverage
    transform: Numbers
    sharpness: float
    crps: float
    rmse: float


def regression_calibration(draws: Tensor, truth: Tensor, levels: Numbers = LEVELS) -> RegressionCalibration:
    """Compare draws of the predictive distribution, noise of the observation included, with what was observed.

    Args:
        draws: (K, n), K ≥ 2.
        truth: (n,).
        levels: nominal probabilities of the intervals.

    Raises:
        DataError: shapes that do not fit, or a single draw.
    """
    if draws.ndim != 2 or len(draws) < 2 or draws.shape[1:] != truth.shape:
        raise DataError(
            f"Calibration of a regression needs draws (K ≥ 2, n) and n observations, not {tuple(draws.shape)} and "
            f"{tuple(truth.shape)}."
        )
    counts = rank_counts(rank_of(draws, truth), len(draws))
    return RegressionCalibration(
        coverage=rank_coverage(counts, levels),
        transform=histogram(counts, BINS),
        sharpness=float(draws.double().std(0).mean()),
        crps=float(crps_samples(draws, truth).mean()),
        rmse=float((draws.double().mean(0) - truth.double()).square().mean().sqrt()),
    )
