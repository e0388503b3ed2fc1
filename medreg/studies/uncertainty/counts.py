"""Counts of cases as arrays, and what follows from them when they are pooled."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from medreg.metrics.uncertainty.intervals import EDGES, Coverage, Numbers
from medreg.metrics.uncertainty.reliability import Reliability


class Cube(NamedTuple):
    """Counts of one kind and structure, by case and position.

    Attributes:
        positions: (P,) increasing.
        values: (cases, P, 3) of count, observed and expected; missing ones are 0.
    """

    positions: Numbers
    values: Numbers

    @property
    def pooled(self) -> Numbers:
        """(P, 3) summed over cases."""
        return np.asarray(self.values.sum(0))


def cube(counts: pd.DataFrame, kind: str, structure: str = "all") -> Cube | None:
    """Return the counts of a kind, None where there are none; bins of |z| that hold nothing are filled in."""
    rows = counts[(counts["kind"] == kind) & (counts["structure"] == structure)]
    if rows.empty:
        return None
    cases, position = sorted(set(rows["case"])), np.unique(rows["position"].to_numpy(dtype=float))
    positions = EDGES if kind == "size" else position
    out = np.zeros((len(cases), len(positions), 3))
    place = np.searchsorted(positions, rows["position"].to_numpy(dtype=float))
    number = {case: k for k, case in enumerate(cases)}
    out[[number[case] for case in rows["case"]], np.minimum(place, len(positions) - 1)] = rows[
        ["count", "observed", "expected"]
    ].to_numpy(dtype=float)
    return Cube(positions, out)


def structures(counts: pd.DataFrame, kind: str = "reliability") -> list[str]:
    """Structures that have counts of a kind, in their order."""
    return list(dict.fromkeys(counts.loc[counts["kind"] == kind, "structure"]))


def coverage(levels: Numbers, pooled: Numbers) -> Coverage:
    """Coverage of pooled counts (L, 3) of a kind coverage or coverage_ranks."""
    return Coverage(levels, pooled[:, 1], float(pooled[0, 0]))


def reliability(pooled: Numbers) -> Reliability:
    """Reliability of pooled counts (B, 3) of a kind reliability."""
    return Reliability(count=pooled[:, 0], stated=pooled[:, 2], true=pooled[:, 1])
