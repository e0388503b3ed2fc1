"""Numbers by which all hearts of an evaluation are looked at together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Pooling:
    """How hearts are pooled.

    Attributes:
        steps: covariate → the difference by which its effect is told, such as 10 years.
        resamples: draws of cases for the intervals of ratios.
        folds: of the cross-validation that tells real and generated hearts apart.
        repeats: of it, each with another generated heart of every case.
        trees: of the forest that tells them apart.
        least: hearts of a group below which it has no distribution.
        neighbours: generated hearts whose nearest training heart is looked for at most.
        long_gap_years: from which on a second visit shows ageing.
        interval: share of second visits that an interval should hold.
        seed: of everything drawn.
    """

    steps: Mapping[str, float]
    resamples: int
    folds: int
    repeats: int
    trees: int
    least: int
    neighbours: int
    long_gap_years: float
    interval: float
    seed: int
