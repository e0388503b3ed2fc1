"""How far two samples of a measure are apart as distributions.

Histograms have 50 equal bins between the 0.5th and the 99.5th percentile of both samples together, values beyond them
count in the outermost bins, and 1e-6 is added to every share before all are divided by their sum. The code of Qiao et
al., STACOM 2022 (Metric_utils.py) has the four distances but leaves the histogram open.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from medreg.metrics.hearts.measures import FloatArray

BINS: Final = 50
PERCENTILES: Final = (0.5, 99.5)
FLOOR: Final = 1e-6


@dataclass(frozen=True)
class Distances:
    """Distances of the shares of two samples in the same bins.

    Attributes:
        kl: Kullback–Leibler divergence of the first from the second, KL(p‖q), nats.
        js: Jensen–Shannon divergence, nats, at most ln 2.
        bhattacharyya: −ln Σ √(p q).
    """

    kl: float
    js: float
    bhattacharyya: float


def shares(one: FloatArray, other: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the shares of two samples in bins of both, (BINS,) each, all above 0.

    Args:
        one: (n,) finite.
        other: (m,) finite.
    """
    low, high = np.percentile(np.concatenate([one, other]), PERCENTILES)
    edges = np.linspace(low, high, BINS + 1) if high > low else np.linspace(low - 0.5, low + 0.5, BINS + 1)
    found = []
    for values in (one, other):
        inside = np.clip(values, edges[0], edges[-1])
        share = np.histogram(inside, edges)[0] / len(values) + FLOOR
        found.append(share / share.sum())
    return found[0], found[1]


def distances(real: FloatArray, synthetic: FloatArray) -> Distances:
    """Return the distances of two samples by their histograms; NaN where one is empty.

    Args:
        real: (n,) measured, p.
        synthetic: (m,) modelled, q.
    """
    one, other = finite(real), finite(synthetic)
    if not (len(one) and len(other)):
        return Distances(math.nan, math.nan, math.nan)
    p, q = shares(one, other)
    middle = (p + q) / 2
    overlap = float(np.sqrt(p * q).sum())
    return Distances(_kl(p, q), (_kl(p, middle) + _kl(q, middle)) / 2, -math.log(min(overlap, 1.0)))


def _kl(p: FloatArray, q: FloatArray) -> float:
    return float((p * np.log(p / q)).sum())


def wasserstein(real: FloatArray, synthetic: FloatArray) -> float:
    """Return the 1-Wasserstein distance of two raw samples, in their unit; NaN where one is empty.

    Of the samples and not of the heights of histograms, which some programs take for them.
    """
    from scipy.stats import wasserstein_distance

    one, other = finite(real), finite(synthetic)
    return float(wasserstein_distance(one, other)) if len(one) and len(other) else math.nan


def sd(values: FloatArray) -> float:
    """Standard deviation (n − 1) of the finite values; NaN for fewer than two."""
    known = finite(values)
    return float(known.std(ddof=1)) if len(known) > 1 else math.nan


def finite(values: FloatArray) -> FloatArray:
    """Return the values without NaN and infinity."""
    plain = np.asarray(values, dtype=float)
    return plain[np.isfinite(plain)]
