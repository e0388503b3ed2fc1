"""How well a predicted heart agrees with the true one: overlap and surfaces by structure, frames, measures.

A structure counts in a frame where the true heart shows it (`np_mean_dice` of the code of Qiao et al., STACOM 2022), so
that one that was invented is not punished; it is counted instead. Numbers of frames are averaged over them, then by the
reader over cases. The surface of a structure is that of `surface`, distances are the largest (HD, not a percentile) and
the average symmetric one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from medreg.errors import DataError
from medreg.metrics import surface
from medreg.metrics.hearts.measures import MEASURES, Curves, FloatArray
from medreg.metrics.overlap import joint_histogram
from medreg.metrics.rows import MetricRow, row, rows_with_mean

RELEASED_LOST_MM: Final = {
    "hd": 11.5,
    "assd": 3.5,
}  # AgeHeart, Metric_utils.py: distance of a structure that is missing
ES_TOLERANCE: Final = 1  # frames by which ES, and the largest ventricle, may be off and still be right


@dataclass(frozen=True)
class Agreement:
    """Numbers of every frame and structure, NaN where the true heart does not show the structure.

    Attributes:
        scores: "dice", perhaps "hd" and "assd" (mm) → (T, L).
        lost: (T, L), the true heart shows the structure and the prediction does not.
        invented: (T, L), the other way round.
    """

    scores: Mapping[str, FloatArray]
    lost: NDArray[np.bool_]
    invented: NDArray[np.bool_]


def agreement(
    truth: Tensor, found: Tensor, spacing_mm: Sequence[float], count: int, *, surfaces: bool, released: bool
) -> Agreement:
    """Compare two hearts frame by frame.

    Args:
        truth: (T, X, Y, Z) uint8.
        found: (T, X, Y, Z) uint8.
        spacing_mm: along X, Y and Z.
        count: L.
        surfaces: whether distances are measured.
        released: whether a lost structure gets the distances of the released code; otherwise it has none.

    Raises:
        DataError: the two differ in shape.
    """
    if truth.shape != found.shape:
        raise DataError(
            f"The true heart has the shape {tuple(truth.shape)} and the predicted one {tuple(found.shape)}; both must "
            "have the same frames on the same grid."
        )
    table = joint_histogram(truth, found, count).numpy()
    true, own = table.sum(2)[:, 1:], table.sum(1)[:, 1:]
    shared = np.diagonal(table, axis1=1, axis2=2)[:, 1:]
    dice = np.where(true > 0, 2.0 * shared / np.maximum(true + own, 1), math.nan)
    lost, invented = (true > 0) & (own == 0), (true == 0) & (own > 0)
    scores = {"dice": dice}
    if surfaces:
        scores |= _distances(truth, found, spacing_mm, count)
        for name, mm in RELEASED_LOST_MM.items():
            scores[name] = np.where(lost, mm if released else math.nan, scores[name])
    return Agreement(scores, lost, invented)


def _distances(
    truth: Tensor, found: Tensor, spacing_mm: Sequence[float], count: int
) -> dict[str, FloatArray]:
    """HD and ASSD of every frame and structure, mm; NaN where one of the two is empty."""
    out = {name: np.full((len(truth), count), math.nan) for name in RELEASED_LOST_MM}
    maps = zip(truth.short().numpy(), found.short().numpy(), strict=True)
    for frame, pair in enumerate(maps):
        for place, masks in enumerate(surface.structure_masks(*pair, count)):
            near = surface.surface_distances(*masks, spacing_mm=spacing_mm)
            out["hd"][frame, place], out["assd"][frame, place] = near.hd_mm, near.assd_mm
    return out


def parts_of(frames: int, es: int) -> dict[str, slice]:
    """Return which frames a metric is averaged over, by the middle of its name.

    Args:
        frames: T.
        es: frame of ES of the true heart, at which both hearts are compared.
    """
    every = {"": slice(None), "_later": slice(1, None), "_ed": slice(0, 1), "_es": slice(es, es + 1)}
    return every if frames > 1 else {"": slice(None)}


def metric_name(score: str, part: str) -> str:
    """Return the name of a metric, such as `dice`, `dice_later`, `hd_mm` and `hd_es_mm`."""
    return f"{score}{part}" if score == "dice" else f"{score}{part}_mm"


def means(found: Agreement, es: int) -> dict[str, FloatArray]:
    """Return metric → (L,) mean over frames of each part, see `parts_of`; NaN where no frame counts."""
    parts = parts_of(len(found.lost), es)
    return {
        metric_name(score, part): _mean_over_frames(values[frames])
        for score, values in found.scores.items()
        for part, frames in parts.items()
    }


def _mean_over_frames(values: FloatArray) -> FloatArray:
    known = ~np.isnan(values)
    count = known.sum(0)
    return np.where(count > 0, np.where(known, values, 0.0).sum(0) / np.maximum(count, 1), math.nan)


def agreement_rows(found: Agreement, names: Sequence[str], es: int) -> Iterator[MetricRow]:
    """Yield rows of overlap, distances and losses.

    Args:
        found: the comparison.
        names: of the structures, in the order of their places.
        es: frame of ES of the true heart.
    """
    for metric, values in means(found, es).items():
        yield from rows_with_mean(metric, dict(zip(names, values.tolist(), strict=True)))
    yield row("all", "lost_structures", float(found.lost.sum()))
    yield row("all", "invented_structures", float(found.invented.sum()))


def measure_rows(truth: Mapping[str, float], found: Mapping[str, float]) -> Iterator[MetricRow]:
    """Yield the error (absolute) and the bias (predicted − real) of every clinical measure, in its unit."""
    for name, unit in MEASURES.items():
        difference = found[name] - truth[name]
        yield MetricRow(name, "measure_error", abs(difference), unit)
        yield MetricRow(name, "measure_bias", difference, unit)


def frame_rows(truth: Curves, found: Curves, phases: str) -> Iterator[MetricRow]:
    """Yield whether ED and ES fall into the right frames, 0 or 100 %; nothing where they are given.

    `largest_first_percent`: the left ventricle is largest in frame 0. `largest_frame_percent`: it is largest within one
    frame of where the true one is, across the end of the cycle too. `es_frame_percent`: it is smallest within one frame
    of the true one. A heart without a left ventricle is wrong in all of them.
    """
    if phases != "cycle":
        return
    (true_es, true_largest), (es, largest) = truth.frames(phases), found.frames(phases)
    right = {
        "largest_first_percent": largest == 0,
        "largest_frame_percent": frames_between(largest, true_largest, len(truth.lv)) <= ES_TOLERANCE,
        "es_frame_percent": abs(es - true_es) <= ES_TOLERANCE,
    }
    for metric, holds in right.items():
        yield row("all", metric, 100.0 * (holds and found.beats))


def frames_between(one: int, other: int, frames: int) -> int:
    """Return the distance of two frames in a cycle of so many."""
    apart = abs(one - other) % frames
    return min(apart, frames - apart)
