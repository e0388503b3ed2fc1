"""What the official numbers hide, for the same case, under the names that the metrics have everywhere in medreg.

The same functions with the challenge's settings, as `metrics.evaluator.CaseEvaluator` has them with
`surface_definition="area", crop=2, masked=True`: folds are counted, distances in mm, the log Jacobian without the shift
of 3, values per label. Dice leaves the background out, also where a config scores it; a lost label is counted and has
the diagonal of the fixed image as its distance, where the official value is infinite; `…_linear_mm` moves points by
linear interpolation, with the field continued beyond the rim by its border value; `…_initial` is the value of the zero
field.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from medreg.data.datasets.learn2reg_config import EvaluationConfig, MetricSpec
from medreg.metrics.rows import MetricRow, mean_of_numbers, row, rows_with_mean
from medreg.metrics.structures import diagonal_mm
from medreg.metrics.surface import assd_mm
from medreg.metrics.surfel import hd95_mm
from medreg.studies.learn2reg.labels import joint_counts
from medreg.studies.learn2reg.ndv import non_diffeomorphic_percent
from medreg.studies.learn2reg.official import Case, Values, listed, single, surface_values

BACKGROUND = 0
HIGHER_IS_BETTER = ("dice", "dice_initial")
INITIAL = {"dice": "dice_initial"}
SHARED = (
    "dice",
    "hd95_mm",
    "assd_mm",
    "sd_log_jacobian",
    "folding_percent",
)  # with every evaluation of medreg
SHARE = 0.3  # of cases or items: the worst, or those that were the hardest before registration


def corrected_values(case: Case) -> Values:
    """Compute our numbers of one case, as far as its config asks for their official counterparts.

    Returns:
        name → {"mean": number, "detailed": number or list, "labels": ids where the list is of labels}.
    """
    values: Values = {}
    kinds = {spec.metric for spec in case.config.metrics}
    if kinds & {"sdlogj", "ndv"}:
        values |= _regularity(case)
    labels = [label for label in case.scored("dice") if label != BACKGROUND]
    if labels:
        values |= _overlap(case, labels)
    labels = [label for label in case.scored("hd95") if label != BACKGROUND]
    if labels:
        values |= _surfaces(case, labels)
    for spec in case.config.metrics:
        if spec.metric == "tre" and not case.point_files[spec.name].are_images:
            values |= _points(case, spec)
    return values


def case_rows(
    ours: Values, official: Mapping[str, Mapping[str, Any]], config: EvaluationConfig
) -> Iterator[MetricRow]:
    """Yield what any evaluation of medreg gives of a case: the shared metrics, and the error at points.

    Args:
        ours: from `corrected_values`.
        official: values of the case in the metric file; the error at points is taken from them.
        config: which of its metrics are errors at points; with several their names say which points.
    """
    for metric in SHARED:
        if (values := ours.get(metric)) is None:
            continue
        if "labels" in values:
            names = (f"label {label}" for label in values["labels"])
            yield from rows_with_mean(metric, dict(zip(names, values["detailed"], strict=True)))
        else:
            yield row("all", metric, values["mean"])
    if "lost_labels" in ours:
        yield row("all", "lost_structures", ours["lost_labels"]["mean"])
    points = [spec.name for spec in config.metrics if spec.metric == "tre" and spec.name in official]
    for name in points:
        yield row("all", "tre_mm" if len(points) == 1 else f"{name.lower()}_mm", official[name]["mean"])


def _regularity(case: Case) -> Values:
    found = case.regularity
    mask = None if case.mask is None else case.mask == 1
    return {
        "sd_log_jacobian": single(found.plain),
        "folding_voxels": single(float(found.folds)),
        "folding_percent": single(found.folding_percent),
        "ndv_percent": single(non_diffeomorphic_percent(case.displacement, mask=mask)),
    }


def _overlap(case: Case, labels: Sequence[int]) -> Values:
    values = {"dice": _of_labels(case.dice(case.overlap, labels), labels)}
    if case.moving_index.shape == case.fixed_index.shape:
        initial = joint_counts(case.fixed_index, case.moving_index, len(case.labels.ids))
        values["dice_initial"] = _of_labels(case.dice(initial, labels), labels)
    return values | _lost(case, labels)


def _lost(case: Case, labels: Sequence[int]) -> Values:
    places = [case.labels.place(label) for label in labels]
    lost = case.in_both[places] & (case.overlap.sum(axis=0)[places] == 0)
    return {"lost_labels": single(float(lost.sum()))}


def _surfaces(case: Case, labels: Sequence[int]) -> Values:
    """HD95 and ASSD in mm of the fixed image; of a label that warping lost the diagonal of the image."""
    spacing = tuple(case.fixed_spacing)
    penalty = diagonal_mm(case.fixed_index.shape, spacing)
    if len(set(spacing)) == 1:  # cubic voxels: the official value, which is in voxels, times their size
        in_mm = [spacing[0] * case.hd95_voxels[label] for label in labels]
        hausdorff = [penalty if math.isinf(value) else value for value in in_mm]
    else:
        hausdorff = surface_values(case, labels, lost=penalty, measure=partial(hd95_mm, spacing_mm=spacing))
    average = surface_values(case, labels, lost=penalty, measure=partial(assd_mm, spacing_mm=spacing))
    distances = {"hd95_mm": _of_labels(hausdorff, labels), "assd_mm": _of_labels(average, labels)}
    return distances | ({} if case.scored("dice") else _lost(case, labels))


def _points(case: Case, spec: MetricSpec) -> Values:
    from scipy import ndimage

    points = case.points[spec.name]
    parts = [
        ndimage.map_coordinates(part, points.first.T, output=np.float64, order=1, mode="nearest")
        for part in case.displacement.components
    ]
    before = points.first - points.second
    name = spec.name.lower()
    values = {f"{name}_linear_mm": before + np.stack(parts, axis=-1), f"{name}_initial_mm": before}
    return {
        metric: listed(np.linalg.norm(residual * case.moving_spacing, axis=1).tolist())
        for metric, residual in values.items()
    }


def worst_share(values: Sequence[float], *, higher_is_better: bool) -> float:
    """Mean of the worst 30 % of values, at least one; NaN aside."""
    return hardest_share(values, values, higher_is_better=higher_is_better)


def hardest_share(values: Sequence[float], initial: Sequence[float], *, higher_is_better: bool) -> float:
    """Mean over the 30 % of items that were worst before registration: what rankings call DSC30 and TRE30."""
    items = [(start, end) for start, end in zip(initial, values, strict=True) if not math.isnan(start + end)]
    items.sort(key=lambda item: item[0] if higher_is_better else -item[0])
    return mean_of_numbers(end for _, end in items[: max(1, round(SHARE * len(items)))])


def corrected_aggregates(cases: Mapping[str, Values]) -> Values:
    """Summarise our numbers over the cases.

    Returns:
        name → {"mean", "std" (sample), "median" and "worst30" of case means; "hardest30" where the value of
        every item before registration is known}. NaN aside.
    """
    out: Values = {}
    for name in dict.fromkeys(name for values in cases.values() for name in values):
        means = [values[name]["mean"] for values in cases.values() if name in values]
        higher = name in HIGHER_IS_BETTER
        known = np.array([value for value in means if not math.isnan(value)])
        out[name] = {
            "mean": mean_of_numbers(means),
            "std": float(known.std(ddof=1)) if known.size > 1 else math.nan,
            "median": float(np.median(known)) if known.size else math.nan,
            "worst30": worst_share(means, higher_is_better=higher),
        }
        start = INITIAL.get(name, name.replace("_linear_mm", "_initial_mm"))
        both = [values for values in cases.values() if name in values and start in values]
        if start != name and both:
            ends, starts = ([v for values in both for v in values[key]["detailed"]] for key in (name, start))
            out[name]["hardest30"] = hardest_share(ends, starts, higher_is_better=higher)
    return out


def _of_labels(values: list[float], labels: Sequence[int]) -> dict[str, Any]:
    return listed(values) | {"labels": list(labels)}
