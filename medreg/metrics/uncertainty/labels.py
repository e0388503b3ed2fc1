"""Are the probabilities of warped labels true? Measured in a band around structures, where they can be wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medreg.errors import DataError
from medreg.metrics.rows import MetricRow, row, rows_with_mean
from medreg.metrics.surface import boundary
from medreg.metrics.uncertainty import table
from medreg.metrics.uncertainty.case import Calibration
from medreg.metrics.uncertainty.information import uncertainty_split
from medreg.metrics.uncertainty.reliability import (
    adaptive_ece,
    brier,
    nll,
    reliability,
    top_label,
)

ROUNDING = 1e-4  # by which probabilities may miss 1


def band_around(label: Tensor, codes: Sequence[int], *, spacing_mm: Tensor, width_mm: float) -> Tensor:
    """Voxels within a distance of the surface of any structure, both sides of it.

    Args:
        label: (N, 1, *S) codes; each of N is an image of its own.
        codes: of the structures.
        spacing_mm: (D,).
        width_mm: largest distance of voxel centres to a voxel of a surface.

    Returns:
        (N, 1, *S) bool; nothing where there is no structure.
    """
    from scipy import ndimage

    out = np.zeros(tuple(label.shape), dtype=bool)
    for place, image in enumerate(label[:, 0].cpu().numpy()):
        edge = np.zeros(image.shape, dtype=bool)
        for code in codes:
            edge |= boundary(image == code)
        if edge.any():
            distance = ndimage.distance_transform_edt(~edge, sampling=spacing_mm.tolist())
            out[place, 0] = distance <= width_mm
    return torch.from_numpy(out).to(label.device)


def label_calibration(
    probabilities: Tensor,
    fixed_label: Tensor,
    labels: Mapping[str, int],
    *,
    spacing_mm: Tensor,
    band_mm: float,
    samples: int | None = None,
    mask: Tensor | None = None,
) -> Calibration:
    """Calibration of label probabilities against the label map of the fixed image.

    `label_ece` and its relatives of a structure look at π_l(x) and whether the voxel is l; those of "all" at the most
    probable label and whether it is right. Other labels than those that are named count as background.

    Args:
        probabilities: (N, L, *S), π_l of the L structures; the background is what is left to 1.
        fixed_label: (N, 1, *S) codes.
        labels: structure → code in the order of the L channels.
        spacing_mm: (D,).
        band_mm: half-width of the band around the structures of the fixed label map.
        samples: number S of samples behind π, which limits the likelihood to 1/(2S).
        mask: (N, 1, *S) where voxels count besides.

    Raises:
        DataError: shapes that do not fit, or numbers that are no probabilities.
    """
    _check(probabilities, fixed_label, labels)
    codes = list(labels.values())
    band = band_around(fixed_label, codes, spacing_mm=spacing_mm, width_mm=band_mm)
    if mask is not None:
        band &= mask != 0
    if not bool(band.any()):
        return Calibration()
    inside = band[:, 0]
    chosen = probabilities.detach().double().movedim(1, -1)[inside].clamp(0, 1).cpu().numpy()
    stated = np.concatenate([np.clip(1 - chosen.sum(1, keepdims=True), 0, 1), chosen], axis=1)
    stated /= stated.sum(1, keepdims=True)
    truth = _classes(fixed_label[:, 0][inside].cpu().numpy(), codes)
    return _one_by_one(stated, truth, list(labels)) + _together(stated, truth, samples)


def _one_by_one(stated: NDArray[np.float64], truth: NDArray[np.int64], names: Sequence[str]) -> Calibration:
    rows: list[MetricRow] = []
    counts: list[table.Count] = []
    errors: dict[str, float] = {}
    for place, name in enumerate(names, start=1):
        if (truth == place).any() or (stated[:, place] > 0).any():
            found = reliability(stated[:, place], truth == place)
            errors[name] = found.ece
            counts += table.of_reliability("reliability", name, found)
    rows += rows_with_mean("label_ece", errors)
    return Calibration(rows, counts)


def _together(stated: NDArray[np.float64], truth: NDArray[np.int64], samples: int | None) -> Calibration:
    confidence, right = top_label(stated, truth)
    found = reliability(confidence, right)
    total = uncertainty_split(torch.from_numpy(stated.T[None])).total
    rows = [
        row("all", "label_ece_top", found.ece),
        row("all", "label_ece_adaptive", adaptive_ece(confidence, right)),
        row("all", "label_mce", found.mce),
        row("all", "label_brier", brier(stated, truth)),
        row("all", "label_nll", nll(stated, truth, samples=samples)),
        row("all", "label_entropy", float(total.mean())),
    ]
    return Calibration(rows, table.of_reliability("reliability_top", table.ALL, found))


def _classes(label: NDArray[np.int64], codes: Sequence[int]) -> NDArray[np.int64]:
    out = np.zeros(label.shape, dtype=np.int64)
    for place, code in enumerate(codes, start=1):
        out[label == code] = place
    return out


def _check(probabilities: Tensor, fixed_label: Tensor, labels: Mapping[str, int]) -> None:
    wanted = (fixed_label.shape[0], len(labels), *fixed_label.shape[2:])
    if tuple(probabilities.shape) != wanted:
        raise DataError(
            f"Label probabilities have shape {tuple(probabilities.shape)}; {len(labels)} structures on the fixed grid "
            f"need {wanted}."
        )
    low, high = float(probabilities.min()), float(probabilities.sum(1).max())
    if not (low >= -ROUNDING and high <= 1 + ROUNDING):
        raise DataError(
            f"Label probabilities reach from {low:.4g} to a sum of {high:.4g} in a voxel; they must lie in [0, 1] and "
            "add up to at most 1."
        )
