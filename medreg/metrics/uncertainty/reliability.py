"""Are probabilities true? Reliability diagrams, expected calibration error, Brier score, log-likelihood."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medreg.metrics.uncertainty.intervals import Numbers

BINS = 15


@dataclass(frozen=True)
class Reliability:
    """Predictions sorted into bins of equal width by their probability.

    Attributes:
        count: (B,) predictions in each bin.
        stated: (B,) sum of their probabilities.
        true: (B,) how many of them came true.
    """

    count: Numbers
    stated: Numbers
    true: Numbers

    @property
    def ece(self) -> float:
        """Expected calibration error, Σ_b (n_b/n) |share that came true − mean probability|."""
        total = self.count.sum()
        return float(np.abs(self.true - self.stated).sum() / total) if total else math.nan

    @property
    def mce(self) -> float:
        """Maximum calibration error: the largest gap of a bin that is not empty."""
        there = self.count > 0
        gaps = np.abs(self.true[there] - self.stated[there]) / self.count[there]
        return float(gaps.max()) if len(gaps) else math.nan


def reliability(probability: Numbers, outcome: NDArray[np.bool_], bins: int = BINS) -> Reliability:
    """Sort predictions into bins (b/B, (b + 1)/B]; 0 belongs to the first.

    Args:
        probability: (n,) in [0, 1].
        outcome: (n,) whether it came true.
        bins: number B of bins.

    Source: C. Guo et al., On calibration of modern neural networks, ICML 2017.
    """
    place = np.clip(np.ceil(probability * bins).astype(int) - 1, 0, bins - 1)
    sums = (np.bincount(place, w, minlength=bins) for w in (None, probability, outcome.astype(np.float64)))
    return Reliability(*(np.asarray(s, dtype=np.float64) for s in sums))


def pooled(parts: Iterable[Reliability]) -> Reliability:
    """Return the bins of several cases together."""
    found = list(parts)
    sums = (np.sum([getattr(part, name) for part in found], axis=0) for name in ("count", "stated", "true"))
    return Reliability(*sums)


def adaptive_ece(probability: Numbers, outcome: NDArray[np.bool_], bins: int = BINS) -> float:
    """Expected calibration error over bins of equally many predictions; equal probabilities share their outcomes.

    Args:
        probability: (n,) in [0, 1].
        outcome: (n,) whether it came true.
        bins: number of bins, at most n are used.
    """
    if not len(probability):
        return math.nan
    values, group, sizes = np.unique(probability, return_inverse=True, return_counts=True)
    shares = np.bincount(group, outcome.astype(np.float64)) / sizes
    ends = np.round(np.arange(bins + 1) / bins * len(probability))
    # sums up to each end, linear inside a group of equal probabilities: a group is divided without an order
    place = np.concatenate([[0], np.cumsum(sizes)])
    gap = np.diff(np.interp(ends, place, np.concatenate([[0.0], np.cumsum((shares - values) * sizes)])))
    return float(np.abs(gap).sum() / len(probability))


def brier(probabilities: Numbers, label: NDArray[np.int64]) -> float:
    """Brier score, mean Σ_c (p_c − 1[label = c])², in [0, 2].

    Args:
        probabilities: (n, C) that add up to one.
        label: (n,) 0 … C − 1.
    """
    truth = np.eye(probabilities.shape[1])[label]
    return float(np.square(probabilities - truth).sum(1).mean()) if len(label) else math.nan


def nll(probabilities: Numbers, label: NDArray[np.int64], *, samples: int | None = None) -> float:
    """Mean −ln p of the true label, in nats; p at least 1/(2S), since S samples cannot tell a smaller one from 0.

    Args:
        probabilities: (n, C).
        label: (n,) 0 … C − 1.
        samples: number S behind the probabilities; None: exact ones, which may give infinity.
    """
    if not len(label):
        return math.nan
    chosen = np.take_along_axis(probabilities, label[:, None], axis=1)[:, 0]
    with np.errstate(divide="ignore"):
        return float(-np.log(np.maximum(chosen, 0.0 if samples is None else 0.5 / samples)).mean())


def top_label(probabilities: Numbers, label: NDArray[np.int64]) -> tuple[Numbers, NDArray[np.bool_]]:
    """Return the largest probability of each prediction (n, C), and whether it named the true label (n,); (n,) both."""
    return probabilities.max(1), np.asarray(probabilities.argmax(1) == label)
