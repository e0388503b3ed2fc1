"""What the official numbers hide, for the same case: folds, millimetres, logarithms without a shift, values per label.

Every name says its unit where it has one. Dice leaves the background out, also where a config scores it; lost labels
are counted instead of making a mean infinite; points are moved by linear interpolation, with the field continued
beyond the rim by its border value; `initial` is the value of the zero field.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medreg.data.datasets.learn2reg_config import MetricSpec
from medreg.metrics.surface import assd_mm
from medreg.metrics.surfel import hd95_mm
from medreg.studies.learn2reg.labels import joint_counts
from medreg.studies.learn2reg.ndv import non_diffeomorphic_percent
from medreg.studies.learn2reg.official import Case, Values, mean_of, surface_values

BACKGROUND = 0
HIGHER_IS_BETTER = ("Dice", "Dice_initial")


def corrected_values(case: Case) -> Values:
    """Compute our numbers of one case, as far as its config asks for their official counterparts.

    Returns:
        name → {"mean": number, "detailed": number or list, "labels": ids where the list is of labels}.
    """
    values: Values = {}
    kinds = {spec.metric for spec in case.config.metrics}
    if kinds & {"sdlogj", "ndv"}:
        values |= _regularity(case)
    labels = [label for label in _labels(case, "dice") if label != BACKGROUND]
    if labels:
        values |= _overlap(case, labels)
    labels = [label for label in _labels(case, "hd95") if label != BACKGROUND]
    if labels:
        values |= _surfaces(case, labels)
    for spec in case.config.metrics:
        if spec.metric == "tre" and not case.point_files[spec.name].are_images:
            values |= _points(case, spec)
    return values


def _labels(case: Case, metric: str) -> list[int]:
    """Ids that a metric scores, in the order of the config."""
    lists = [spec.labels for spec in case.config.metrics if spec.metric == metric]
    return list(dict.fromkeys(label for part in lists for label in part))


def _regularity(case: Case) -> Values:
    found = case.regularity
    mask = None if case.mask is None else case.mask == 1
    return {
        "SDlogJ": _single(found.plain),
        "folds": _single(float(found.folds)),
        "folds_percent": _single(found.folds_percent),
        "NDV_percent": _single(non_diffeomorphic_percent(case.displacement, mask=mask)),
    }


def _overlap(case: Case, labels: Sequence[int]) -> Values:
    places = np.array([case.labels.place(label) for label in labels])
    initial = (
        joint_counts(case.fixed_index, case.moving_index, len(case.labels.ids))
        if case.moving_index.shape == case.fixed_index.shape
        else None
    )
    values = {"Dice": _listed(_dice(case.overlap, places, case.in_both), labels)}
    if initial is not None:
        values["Dice_initial"] = _listed(_dice(initial, places, case.in_both), labels)
    lost = case.in_both[places] & (case.overlap.sum(axis=0)[places] == 0)
    values["lost_labels"] = _single(float(lost.sum()))
    return values


def _dice(joint: NDArray[np.int64], places: NDArray[np.int64], in_both: NDArray[np.bool_]) -> list[float]:
    sizes = (joint.sum(axis=0) + joint.sum(axis=1))[places]
    scores = 2 * joint.diagonal()[places] / np.maximum(sizes, 1)
    return [float(score) for score in np.where(in_both[places], scores, math.nan)]


def _surfaces(case: Case, labels: Sequence[int]) -> Values:
    """HD95 and ASSD in mm of the fixed image; a label that warping lost has neither."""
    spacing = tuple(case.fixed_spacing)

    def hd95(fixed: NDArray[np.bool_], warped: NDArray[np.bool_]) -> float:
        return hd95_mm(fixed, warped, spacing_mm=spacing)

    def assd(fixed: NDArray[np.bool_], warped: NDArray[np.bool_]) -> float:
        return assd_mm(fixed, warped, spacing_mm=spacing)

    if len(set(spacing)) == 1:  # cubic voxels: the official value, which is in voxels, times their size
        in_voxels = case.hd95_voxels
        hausdorff = [spacing[0] * in_voxels[label] for label in labels]
        hausdorff = [math.nan if math.isinf(value) else value for value in hausdorff]
    else:
        hausdorff = surface_values(case, labels, lost=math.nan, measure=hd95)
    return {
        "HD95_mm": _listed(hausdorff, labels),
        "ASSD_mm": _listed(surface_values(case, labels, lost=math.nan, measure=assd), labels),
    }


def _points(case: Case, spec: MetricSpec) -> Values:
    from scipy import ndimage

    points = case.points[spec.name]
    parts = [
        ndimage.map_coordinates(part, points.first.T, output=np.float64, order=1, mode="nearest")
        for part in case.displacement.components
    ]
    before = points.first - points.second
    values = {
        f"{spec.name}_linear_mm": before + np.stack(parts, axis=-1),
        f"{spec.name}_initial_mm": before,
    }
    return {
        name: _listed(np.linalg.norm(residual * case.moving_spacing, axis=1).tolist())
        for name, residual in values.items()
    }


def worst_share(values: Sequence[float], *, share: float = 0.3, higher_is_better: bool) -> float:
    """Mean of the worst 30 % of values, at least one; NaN aside."""
    known = sorted((value for value in values if not math.isnan(value)), reverse=not higher_is_better)
    return float(np.mean(known[: max(1, round(share * len(known)))])) if known else math.nan


def hardest_share(values: Sequence[float], initial: Sequence[float], *, higher_is_better: bool) -> float:
    """Mean over the 30 % of items that were worst before registration: what rankings call DSC30 and TRE30."""
    items = [(start, end) for start, end in zip(initial, values, strict=True) if not math.isnan(start + end)]
    items.sort(key=lambda item: item[0] if higher_is_better else -item[0])
    return float(np.mean([end for _, end in items[: max(1, round(0.3 * len(items)))]])) if items else math.nan


def corrected_aggregates(cases: dict[str, Values]) -> Values:
    """Summarise our numbers over the cases.

    Returns:
        name → {"mean", "std" (sample), "median" and "worst30" of case means; "hardest30" where the value of
        every item before registration is known}. NaN aside.
    """
    names = list(dict.fromkeys(name for values in cases.values() for name in values))
    out: Values = {}
    for name in names:
        means = [values[name]["mean"] for values in cases.values() if name in values]
        higher = name in HIGHER_IS_BETTER
        known = np.array([value for value in means if not math.isnan(value)])
        out[name] = {
            "mean": mean_of(means),
            "std": float(known.std(ddof=1)) if known.size > 1 else math.nan,
            "median": float(np.median(known)) if known.size else math.nan,
            "worst30": worst_share(means, higher_is_better=higher),
        }
        start = INITIAL.get(name, name.replace("_linear_mm", "_initial_mm"))
        if start != name and start in names:
            both = [values for values in cases.values() if name in values and start in values]
            items = [(values[name]["detailed"], values[start]["detailed"]) for values in both]
            ends = [value for part, _ in items for value in part]
            starts = [value for _, part in items for value in part]
            out[name]["hardest30"] = hardest_share(ends, starts, higher_is_better=higher)
    return out


INITIAL = {"Dice": "Dice_initial"}


def _single(value: float) -> dict[str, Any]:
    return {"mean": value, "detailed": value}


def _listed(values: list[float], labels: Sequence[int] | None = None) -> dict[str, Any]:
    entry: dict[str, Any] = {"mean": mean_of(values), "detailed": values}
    return entry if labels is None else entry | {"labels": list(labels)}
