"""Mending an uncertainty on validation cases. What comes out stands beside the raw figures, never in their place."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medreg.errors import DataError
from medreg.metrics.uncertainty.intervals import Coverage, Numbers


def fit_factor(z_squared: float, count: float) -> float:
    """Factor of every SD that makes the validation errors most likely under a Gaussian, √(mean z²).

    Args:
        z_squared: sum of squared z-scores over the validation cases.
        count: how many.

    Raises:
        DataError: no z-scores, or infinite ones (an SD of zero), which no factor mends.
    """
    if not count > 0 or not math.isfinite(z_squared):
        raise DataError(
            "The standard deviation cannot be recalibrated by one factor: the validation cases have "
            f"{'no z-scores' if not count > 0 else 'errors where the standard deviation is zero'}."
        )
    return math.sqrt(z_squared / count)


@dataclass(frozen=True)
class LevelMap:
    """What level to ask for so that intervals have the coverage that is wanted: isotonic, fitted on validation cases.

    Attributes:
        coverage: increasing coverages that were observed, from 0 to 1.
        levels: the nominal levels at which they were observed.
    """

    coverage: Numbers
    levels: Numbers

    def asked(self, wanted: Numbers) -> Numbers:
        """Nominal levels that had these coverages on the validation cases."""
        return np.interp(wanted, self.coverage, self.levels)

    def applied(self, coverage: Coverage) -> Coverage:
        """Coverage of other cases if intervals were asked for through this map."""
        share = np.array([coverage.at(level) for level in self.asked(coverage.levels)])
        return Coverage(coverage.levels, share * coverage.total, coverage.total)


def fit_levels(validation: Coverage) -> LevelMap:
    """Fit the map from wanted to nominal level by isotonic regression of the coverage on the level.

    Source: V. Kuleshov, N. Fenner, S. Ermon, Accurate uncertainties for deep learning, ICML 2018.
    """
    from scipy.optimize import isotonic_regression

    if not validation.total > 0:
        raise DataError("The levels cannot be recalibrated: the validation cases have no coverage counted.")
    smooth = np.asarray(isotonic_regression(validation.share).x)
    # ties would make the inverse ambiguous: the step is spread over a width that no count resolves
    smooth = np.concatenate([[0.0], np.clip(smooth, 0, 1), [1.0]]) + np.linspace(0, 1e-9, len(smooth) + 2)
    return LevelMap(smooth, np.concatenate([[0.0], validation.levels, [1.0]]))


def tempered(probabilities: Numbers, temperature: float, *, samples: int | None = None) -> Numbers:
    """Probabilities (n, C) as softmax(ln p / T); zeros count as 1/(2S) of S samples where the number is given."""
    low = 1e-12 if samples is None else 0.5 / samples
    logits = np.log(np.maximum(probabilities, low)) / temperature
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True))


def fit_temperature(
    probabilities: Numbers,
    label: NDArray[np.int64],
    *,
    samples: int | None = None,
    weight: Numbers | None = None,
) -> float:
    """Temperature T that makes the labels of validation cases most likely.

    Args:
        probabilities: (n, C).
        label: (n,) 0 … C − 1.
        samples: number behind the probabilities.
        weight: (n,) how often each counts.

    Source: C. Guo et al., On calibration of modern neural networks, ICML 2017.
    """
    from scipy.optimize import minimize_scalar

    if not len(label):
        raise DataError("The labels cannot be recalibrated: the validation cases have none.")
    counts = np.ones(len(label)) if weight is None else weight

    def loss(log_temperature: float) -> float:
        sharpened = tempered(probabilities, math.exp(log_temperature), samples=samples)
        chosen = np.take_along_axis(sharpened, label[:, None], axis=1)[:, 0]
        return float(-(counts * np.log(np.maximum(chosen, 1e-300))).sum() / counts.sum())

    return math.exp(float(minimize_scalar(loss, bounds=(-4.0, 4.0), method="bounded").x))
