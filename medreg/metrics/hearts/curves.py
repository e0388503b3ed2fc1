"""How two curves of volume over the cycle differ (code of Qiao et al., STACOM 2022, Metric_utils.py)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from medreg.metrics.hearts.measures import STRUCTURES, Curves, FloatArray, as_shape
from medreg.metrics.overlap import voxel_counts
from medreg.metrics.rows import MetricRow

EDES = ("ED", "ES")
UNITS = {"LV": "ml", "MYO": "g", "RV": "ml"}


def curve_error(one: FloatArray, other: FloatArray) -> float:
    """Mean over frames of the absolute difference of two (T,) curves, in their unit."""
    return float(np.abs(one - other).mean())


def dtw(one: FloatArray, other: FloatArray) -> float:
    """Distance of two curves by dynamic time warping of the points (frame, value).

    Least sum of the Euclidean distances of matched points over all monotone matchings that begin and end together;
    a step goes to the next point of one curve, of the other, or of both. The axes are frames and mL or g, as released.

    Args:
        one: (T,).
        other: (T',).
    """
    points = [np.stack([np.arange(len(curve), dtype=float), curve], axis=1) for curve in (one, other)]
    apart = np.sqrt(((points[0][:, None] - points[1][None]) ** 2).sum(-1)).tolist()
    last: list[float] = []
    for i, costs in enumerate(apart):
        line: list[float] = []
        for j, cost in enumerate(costs):
            before = [last[j]] if i else []
            before += [line[j - 1]] if j else []
            before += [last[j - 1]] if i and j else []
            line.append(cost + min(before, default=0.0))
        last = line
    return last[-1] if last else math.nan


def curve_rows(truth: Curves, found: Curves) -> Iterator[MetricRow]:
    """Yield error and warped distance of each curve; MYO is a mass, and the unit of a warped distance is mixed."""
    known = truth.by_structure()
    for name, curve in found.by_structure().items():
        if name in known:
            yield MetricRow(name, "curve_error", curve_error(known[name], curve), UNITS[name])
            yield MetricRow(name, "curve_dtw", dtw(known[name], curve), "1")


def curve_table_rows(
    shape: Tensor | NDArray[np.uint8], spacing_mm: Sequence[float], names: Sequence[str] = STRUCTURES
) -> Iterator[dict[str, float | str]]:
    """Yield a row a structure of the table `curves.csv`: its volume in every frame, mL; nothing of ED and ES alone.

    Args:
        shape: (T, X, Y, Z) uint8.
        spacing_mm: along X, Y and Z.
        names: of the structures, in the order of their places.
    """
    found = as_shape(shape)
    if len(found) <= len(EDES):
        return
    voxel_ml = math.prod(float(mm) for mm in spacing_mm) / 1000.0
    volumes = voxel_counts(found, max(len(names), int(found.max()))).numpy() * voxel_ml
    for place, name in enumerate(names):
        yield {"structure": name, **{f"frame_{t}": float(ml) for t, ml in enumerate(volumes[:, place])}}
