"""Coverage of central intervals: how often the truth lies in the interval that should hold it with probability p."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import erfinv
from torch import Tensor

Numbers = NDArray[np.float64]
LEVELS: Numbers = np.round(np.arange(1, 20) * 0.05, 2)  # 0.05 … 0.95, of every calibration error here
EDGES: Numbers = np.append(np.round(np.arange(1, 61) * 0.1, 1), np.inf)  # upper edges of |z| in the counts


@dataclass(frozen=True)
class Coverage:
    """Counts of how often intervals at several levels held the truth.

    Attributes:
        levels: (L,) nominal probabilities, increasing.
        covered: (L,) how many truths lay inside; fractions where an interval holds part of a rank.
        total: how many there were.
    """

    levels: Numbers
    covered: Numbers
    total: float

    @property
    def share(self) -> Numbers:
        """(L,) observed coverage; NaN where nothing was counted."""
        with np.errstate(invalid="ignore"):
            return self.covered / np.float64(self.total)

    @property
    def error(self) -> float:
        """Calibration error, mean over levels of |coverage − level|; 0 is best, 0.5 the worst."""
        return float(np.abs(self.share - self.levels).mean())

    @property
    def bias(self) -> float:
        """Mean over levels of coverage − level: negative where the prediction is too sure, positive if too timid."""
        return float((self.share - self.levels).mean())

    def at(self, level: float) -> float:
        """Observed coverage at a level, interpolated between those that were counted and the ends (0, 0), (1, 1)."""
        return float(
            np.interp(level, np.concatenate([[0], self.levels, [1]]), np.concatenate([[0], self.share, [1]]))
        )


def pooled(parts: Iterable[Coverage]) -> Coverage:
    """Return the counts of several cases together; they must have the same levels."""
    found = list(parts)
    covered = np.sum([part.covered for part in found], axis=0)
    return Coverage(found[0].levels, covered, float(sum(part.total for part in found)))


def half_width(levels: Numbers) -> Numbers:
    """Φ⁻¹((1 + p)/2): how many standard deviations the central interval of a Gaussian at level p reaches."""
    return np.asarray(np.sqrt(2) * erfinv(levels), dtype=np.float64)


def gaussian_coverage(z: Tensor, levels: Numbers = LEVELS) -> Coverage:
    """Count |z| ≤ Φ⁻¹((1 + p)/2).

    Args:
        z: z-scores, any shape; infinite ones are never covered.
        levels: nominal probabilities.
    """
    sizes = z.detach().abs().flatten().double().cpu()
    bounds = torch.from_numpy(half_width(levels))
    return Coverage(levels, _at_most(sizes, bounds), float(sizes.numel()))


def size_counts(z: Tensor) -> Numbers:
    """Histogram of |z| over the bins that end at `EDGES`, from which coverage follows after any change of the SD."""
    sizes = z.detach().abs().flatten().double().cpu()
    return np.diff(_at_most(sizes, torch.from_numpy(EDGES)), prepend=0.0)


def coverage_of_sizes(counts: Numbers, factor: float = 1.0, levels: Numbers = LEVELS) -> Coverage:
    """Coverage if every SD were multiplied by a factor, from counts of `size_counts`; linear between their edges.

    Args:
        counts: (61,) histogram of |z|.
        factor: of the standard deviations.
        levels: nominal probabilities.
    """
    below = np.concatenate([[0.0], np.cumsum(counts)[:-1]])
    edges = np.concatenate([[0.0], EDGES[:-1]])
    covered = np.interp(half_width(levels) * factor, edges, below)
    return Coverage(levels, covered, float(counts.sum()))


def _at_most(values: Tensor, bounds: Tensor) -> Numbers:
    """(L,) how many values are ≤ each of the increasing bounds."""
    place = torch.bucketize(values, bounds)  # the first bound that is ≥ the value
    counts = torch.bincount(place, minlength=len(bounds) + 1)[: len(bounds)]
    return counts.cumsum(0).double().numpy()
