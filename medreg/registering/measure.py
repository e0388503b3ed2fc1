"""Numbers about a registered pair: overlap, distances, landmarks, and how sane the deformation is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medreg.errors import ConfigError
from medreg.geometry.pair_transform import PairTransform, to_slices
from medreg.io.image import Volume
from medreg.io.stack import grid_of, tensor_of
from medreg.metrics.evaluator import CaseEvaluator, MetricRow
from medreg.registering.pair import Pair

OVERLAP = ("dice", "lost_structures", "hd95_mm", "assd_mm")


def label_names(pair: Pair, given: Mapping[str, int] | None, *, moving_alone: bool = False) -> dict[str, int]:
    """Return structure names and codes: the given ones, else `label 3` for every code in either map but 0.

    Args:
        pair: the images.
        given: structure → code, or None.
        moving_alone: whether names of the moving labels alone say something, as for a posterior; none are returned
            then, since nothing is compared.

    Raises:
        ConfigError: a given code that neither map holds.
    """
    if given:
        checked = _checked_names(
            pair, given, least=1 if moving_alone and pair.moving_labels is not None else 2
        )
        return {} if pair.fixed_labels is None else checked
    if pair.fixed_labels is None or pair.moving_labels is None:
        return {}
    codes = np.union1d(np.unique(pair.fixed_labels.array), np.unique(pair.moving_labels.array))
    return {f"label {int(code)}": int(code) for code in codes if code != 0}


def _checked_names(pair: Pair, given: Mapping[str, int], *, least: int) -> dict[str, int]:
    maps = [volume for volume in (pair.fixed_labels, pair.moving_labels) if volume is not None]
    if len(maps) < least:
        raise ConfigError("--label-names needs --fixed-labels and --moving-labels, whose codes it names.")
    there = {int(code) for volume in maps for code in np.unique(volume.array)}
    absent = {name: code for name, code in given.items() if code not in there}
    if absent:
        told = ", ".join(f"{name}={code}" for name, code in absent.items())
        known = ", ".join(map(str, sorted(there - {0})[:20]))
        raise ConfigError(f"--label-names {told}: no label map holds that code; there is {known or 'none'}.")
    return dict(given)


def measure(
    pair: Pair,
    transform: PairTransform,
    *,
    labels: Mapping[str, int],
    surface: bool,
    warped: Tensor,
    warped_labels: Volume | None,
) -> list[MetricRow]:
    """Return the rows of one state of a pair.

    Args:
        pair: the images with labels and points.
        transform: the map; the initial one for "before".
        labels: structure name → code.
        surface: whether surface distances are wanted.
        warped: (1, 1, *S_f) moving image through that map.
        warped_labels: moving labels through that map on the fixed grid, None without labels.
    """
    rows: list[MetricRow] = []
    if warped_labels is not None and pair.fixed_labels is not None and labels:
        moved = tensor_of(warped_labels, dtype=torch.int64)
        rows += _overlap(pair, transform, moved, labels=labels, surface=surface)
    rows += _landmarks(pair, transform)
    rows.append(_correlation(pair, transform, warped))
    rows += _deformation(pair, transform)
    return rows


def _overlap(
    pair: Pair,
    transform: PairTransform,
    warped_labels: Tensor,
    *,
    labels: Mapping[str, int],
    surface: bool,
) -> list[MetricRow]:
    """Score labels that were interpolated once, from the moving file's own grid."""
    assert pair.fixed_labels is not None
    fixed = tensor_of(pair.fixed_labels, dtype=torch.int64)
    batch = _batch(transform, {"fixed_label": fixed, "moving_label": warped_labels})
    still = torch.zeros_like(_field(transform))
    rows = CaseEvaluator(labels, surface=surface)(batch, still)
    return [row for row in rows if row.metric in OVERLAP]


def _landmarks(pair: Pair, transform: PairTransform) -> list[MetricRow]:
    """Return the mean target registration error in the world of the moving image."""
    if pair.fixed_points_mm is None or pair.moving_points_mm is None:
        return []
    found = transform.points_to_moving(torch.from_numpy(pair.fixed_points_mm))
    error = (found - torch.from_numpy(pair.moving_points_mm)).norm(dim=1)
    return [
        MetricRow("all", "tre_mm", float(error.mean()), "mm"),
        MetricRow("all", "tre_max_mm", float(error.max()), "mm"),
    ]


def _correlation(pair: Pair, transform: PairTransform, warped: Tensor) -> MetricRow:
    """Return the correlation of fixed and warped image where both exist, inside the fixed mask."""
    where = transform.covered()
    if pair.fixed_mask is not None:
        where = where & (tensor_of(pair.fixed_mask) > 0)
    values = torch.stack([tensor_of(pair.fixed)[where], warped[where]]).double()
    spread = values.std(dim=1) if values.shape[1] > 1 else torch.zeros(2)
    known = bool((spread > 0).all())
    value = float(torch.corrcoef(values)[0, 1]) if known else float("nan")
    return MetricRow("all", "image_correlation", value, "1")


def _deformation(pair: Pair, transform: PairTransform) -> list[MetricRow]:
    """Return what the whole map does to volumes, its affine part included, as `jacobian.nii.gz` and the picture."""
    mask = None if pair.fixed_mask is None else (tensor_of(pair.fixed_mask) > 0).to(torch.uint8)
    batch = _batch(transform, {} if mask is None else {"fixed_mask": mask})
    rows = CaseEvaluator({}, masked=mask is not None)(batch, _whole_field(transform))
    length = transform.displacement[0].double() * transform.fixed.spacing_mm.reshape(3, 1, 1, 1)
    largest = float(length.norm(dim=0).max())
    return [*rows, MetricRow("all", "largest_deformation_mm", largest, "mm")]


def _field(transform: PairTransform) -> Tensor:
    """Return the displacement as the evaluator takes it: (N, 2, A, B) in slice mode, (1, 3, *S) else."""
    if transform.slice_axis is None:
        return transform.displacement
    return to_slices(transform.displacement, transform.slice_axis)


def _whole_field(transform: PairTransform) -> Tensor:
    """Return the displacement of the whole map, initial alignment included, arranged as `_field`."""
    total = transform.total_displacement().unsqueeze(0)
    return total if transform.slice_axis is None else to_slices(total, transform.slice_axis)


def _batch(transform: PairTransform, arrays: Mapping[str, Tensor]) -> dict[str, Any]:
    axis = transform.slice_axis
    kept = [k for k in range(3) if k != axis]
    batch: dict[str, Any] = {
        key: array if axis is None else to_slices(array, axis) for key, array in arrays.items()
    }
    count = 1 if axis is None else transform.fixed.shape[axis]
    batch["spacing_mm"] = transform.fixed.spacing_mm[kept].float().expand(count, -1)
    batch["case"] = ["pair"]
    return batch


def as_records(rows: list[MetricRow]) -> list[dict[str, Any]]:
    """Return rows as plain values for JSON, NaN as null."""
    return [
        {
            "structure": row.structure,
            "metric": row.metric,
            "value": None if np.isnan(row.value) else float(row.value),
            "unit": row.unit,
        }
        for row in rows
    ]


def unregistered(pair: Pair, world: Tensor, *, slice_axis: int | None) -> PairTransform:
    """Return the map of a pair before registration: the world map alone."""
    fixed = grid_of(pair.fixed)
    return PairTransform(fixed, grid_of(pair.moving), world, torch.zeros(1, 3, *fixed.shape), slice_axis)
