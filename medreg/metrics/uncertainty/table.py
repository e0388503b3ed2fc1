"""Counts of one case that can be added to those of others: the rows of `calibration.csv`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from medreg.metrics.uncertainty.intervals import EDGES, Coverage, Numbers
from medreg.metrics.uncertainty.reliability import Reliability
from medreg.metrics.uncertainty.sparsification import Sparsification

TABLE = "calibration"  # name of the table, and of its file
ALL = "all"
# kind → what position, count, observed and expected are
KINDS: Mapping[str, str] = {
    "coverage": "level; truths; those inside the Gaussian interval of mean and SD; level × truths",
    "coverage_ranks": "level; truths; those inside the interval of the samples; level × truths",
    "size": "upper edge of a bin of |z|; truths; those in the bin; those of a Gaussian",
    "squares": "0; truths; sum of squared z-scores; truths",
    "transform": "middle of a bin of Φ(z); truths; those in the bin; truths / bins",
    "ranks": "middle of a bin of (rank + ½)/(K + 1); truths; those in the bin; truths / bins",
    "sparsification": "share removed; 1; relative error of the rest; the same for the oracle",
    "reliability": "middle of a bin of probabilities; voxels in it; those that came true; sum of probabilities",
    "reliability_top": "the same for the probability of the most probable label",
}
COLUMNS = ("kind", "structure", "position", "count", "observed", "expected")


@dataclass(frozen=True)
class Count:
    """One row: `observed` of `count` where `expected` would be right, see `KINDS`."""

    kind: str
    structure: str
    position: float
    count: float
    observed: float
    expected: float


def rows_for(method: str, counts: Sequence[Count]) -> list[dict[str, Any]]:
    """Return the rows that a test step hands to the callbacks as the table `calibration`."""
    return [{"method": method, **asdict(count)} for count in counts]


def of_coverage(kind: str, coverage: Coverage) -> list[Count]:
    """Rows of a coverage, one a level."""
    parts = zip(coverage.levels, coverage.covered, strict=True)
    return [Count(kind, ALL, float(p), coverage.total, float(c), float(p) * coverage.total) for p, c in parts]


def of_sizes(counts: Numbers) -> list[Count]:
    """Rows of a histogram of |z|, one a bin that holds something."""
    from scipy.special import erf

    total = float(counts.sum())
    expected = np.diff(erf(EDGES / np.sqrt(2)), prepend=0.0) * total
    parts = zip(EDGES, counts, expected, strict=True)
    return [Count("size", ALL, float(e), total, float(n), float(x)) for e, n, x in parts if n]


def of_squares(total: float, squares: float) -> list[Count]:
    """The row of the sum of squared z-scores."""
    return [Count("squares", ALL, 0.0, total, squares, total)]


def of_histogram(kind: str, counts: Numbers) -> list[Count]:
    """Rows of a histogram over equal parts of [0, 1]."""
    total, bins = float(counts.sum()), len(counts)
    return [Count(kind, ALL, (i + 0.5) / bins, total, float(n), total / bins) for i, n in enumerate(counts)]


def of_sparsification(found: Sparsification) -> list[Count]:
    """Rows of a curve beside its oracle; none where there is no error."""
    parts = zip(found.fractions, found.curve, found.oracle, strict=True)
    rows = [Count("sparsification", ALL, float(f), 1.0, float(c), float(o)) for f, c, o in parts]
    return rows if np.isfinite(found.ause) else []


def of_reliability(kind: str, structure: str, found: Reliability) -> list[Count]:
    """Rows of a reliability diagram, one a bin."""
    bins = len(found.count)
    parts = zip(found.count, found.true, found.stated, strict=True)
    return [
        Count(kind, structure, (i + 0.5) / bins, float(n), float(t), float(s))
        for i, (n, t, s) in enumerate(parts)
    ]
