"""Everything that can be said of the calibration of one case of the batch contract."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from medreg.errors import DataError
from medreg.metrics.uncertainty.case import Calibration, Predicted, displacement_calibration
from medreg.metrics.uncertainty.detection import detection_rows
from medreg.metrics.uncertainty.labels import band_around, label_calibration
from medreg.metrics.uncertainty.ranks import rank_of

PROBES = 500  # voxels at which all samples are scored


def of_samples(
    samples: Tensor, truth: Tensor | None, *, mask: Tensor | None = None, seed: int = 0
) -> Predicted:
    """Return what samples say of the displacement; for methods that have all of them in memory.

    Args:
        samples: (K, N, D, *S), voxels, K ≥ 2.
        truth: (N, D, *S) known motion, for ranks; None where it is unknown.
        mask: (N, 1, *S) in which the voxels of the score of the samples lie.
        seed: of their choice.

    Raises:
        DataError: fewer than two samples.
    """
    if len(samples) < 2:
        raise DataError(f"{len(samples)} samples have no standard deviation; draw two or more.")
    mean, std = samples.mean(0), samples.std(0)
    centred = samples - mean
    covariance = torch.einsum("knc...,knd...->ncd...", centred, centred) / (len(samples) - 1)
    predicted = Predicted(mean, std, covariance=covariance, samples=len(samples))
    if truth is None:
        return predicted
    truth = truth.to(samples)
    place = probe_voxels(truth, mask=mask, count=PROBES, seed=seed)
    flat = samples.movedim(2, -1).flatten(1, -2)
    return replace(
        predicted,
        ranks=rank_of(samples, truth),
        probe=flat[:, place],
        probe_truth=truth.movedim(1, -1).flatten(0, -2)[place],
    )


def probe_voxels(field: Tensor, *, mask: Tensor | None, count: int, seed: int) -> Tensor:
    """Choose voxels without repetition: their numbers in N × S, of those that the mask keeps.

    Args:
        field: (N, D, *S), for the size.
        mask: (N, 1, *S), non-zero where a voxel may be chosen; None for everywhere.
        count: the most.
        seed: of the choice.
    """
    kept = torch.ones_like(field[:, 0], dtype=torch.bool) if mask is None else mask[:, 0] != 0
    numbers = torch.nonzero(kept.flatten())[:, 0].cpu()
    order = torch.randperm(len(numbers), generator=torch.Generator().manual_seed(seed))
    return numbers[order[:count]].to(field.device)


def case_calibration(
    batch: Mapping[str, Any],
    predicted: Predicted,
    *,
    band_mm: float,
    labels: Mapping[str, int] | None = None,
    probabilities: Tensor | None = None,
    warped_label: Tensor | None = None,
    seed: int = 0,
) -> Calibration:
    """Calibration of whatever the case has: known motion, labels; both inside `fixed_mask` where there is one.

    Args:
        batch: one case.
        predicted: distribution of its displacement.
        band_mm: half-width of the band around structures in which labels are judged.
        labels: structure → code.
        probabilities: (N, L, *S) of warped labels in the order of `labels`.
        warped_label: (N, 1, *S) by the mean displacement, whose errors the SD should find.
        seed: of the random map that stands beside it.

    Raises:
        DataError: shapes that do not fit.
        NumericalError: NaN or infinity in what was predicted.
    """
    spacing, mask = batch["spacing_mm"][0].cpu(), batch.get("fixed_mask")
    found = Calibration()
    truth = batch.get("displacement")
    if truth is not None:
        found += displacement_calibration(predicted, truth, spacing_mm=spacing, mask=mask)
    label = batch.get("fixed_label")
    if label is None or not labels:
        return found
    if probabilities is not None:
        found += label_calibration(
            probabilities,
            label,
            labels,
            spacing_mm=spacing,
            band_mm=band_mm,
            samples=predicted.samples,
            mask=mask,
        )
    if warped_label is not None:
        found += _errors(batch, predicted, label, warped_label, labels, spacing, band_mm, seed)
    return found


def _errors(
    batch: Mapping[str, Any],
    predicted: Predicted,
    label: Tensor,
    warped: Tensor,
    labels: Mapping[str, int],
    spacing: Tensor,
    band_mm: float,
    seed: int,
) -> Calibration:
    codes = list(labels.values())
    band = band_around(label, codes, spacing_mm=spacing, width_mm=band_mm)
    if batch.get("fixed_mask") is not None:
        band &= batch["fixed_mask"] != 0
    known = torch.tensor(codes, device=label.device)
    one, two = (torch.where(torch.isin(part, known), part, 0) for part in (label, warped.to(label)))
    scale = spacing.to(predicted.std).view(1, -1, *[1] * (predicted.std.ndim - 2))
    size = (predicted.std * scale).square().sum(1, keepdim=True).sqrt()
    rows = detection_rows(size, one != two, batch["fixed_image"], spacing_mm=spacing, mask=band, seed=seed)
    return Calibration(rows)
