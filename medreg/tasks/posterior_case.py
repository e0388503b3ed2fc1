"""What a case of the batch contract asks of its samples: the listener, the mask, the calibration against the truth."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from medreg.errors import DataError
from medreg.geometry.pair_transform import from_slices
from medreg.geometry.warp import warp_labels
from medreg.inference.gathering import Gatherer, LabelQuestion
from medreg.inference.posterior_summary import PosteriorSummary
from medreg.inference.sampling.streaming import LabelCounts, Probe
from medreg.metrics.uncertainty.case import Calibration, Predicted
from medreg.metrics.uncertainty.of_batch import case_calibration

ACROSS = 2  # axis across the slices of a stack


def gatherer_of(
    batch: Mapping[str, Any], *, labels: Mapping[str, int], keep: int, voxels: int, seed: int
) -> Gatherer:
    """Return what listens to the samples of a case.

    Args:
        batch: the case.
        labels: structure → code.
        keep: samples that are kept as they are.
        voxels: at which whole chains are kept, spread over the slices of a stack.
        seed: of the choice of the voxels, the same for every case.

    Raises:
        DataError: the mask of the case is empty.
    """
    pairs, mask = len(batch["fixed_image"]), mask_of(batch)
    everywhere = torch.ones_like(batch["fixed_image"][:, :1])
    if mask is not None:  # a slice without a body is looked at as a whole
        empty = ~(mask.flatten(1) != 0).any(1)
        everywhere = torch.where(empty.reshape(-1, *(1,) * (mask.ndim - 1)), everywhere, mask.to(everywhere))
    generator = torch.Generator().manual_seed(seed)
    return Gatherer(
        pairs=pairs,
        spacing_mm=batch["spacing_mm"],
        mask=mask,
        labels=_question(batch, labels),
        truth=batch.get("displacement"),
        probe=Probe.at_random(everywhere, count=max(1, voxels // pairs), generator=generator),
        keep=keep,
    )


def mask_of(batch: Mapping[str, Any]) -> Tensor | None:
    """Return the mask of the fixed image, None where there is none.

    Raises:
        DataError: it is empty.
    """
    mask: Tensor | None = batch.get("fixed_mask")
    if mask is not None and not bool((mask != 0).any()):
        raise DataError(
            f"Case {batch['case'][0]}: the mask of the fixed image is empty, so there is nothing to compare; mend it, "
            "or leave it out of the data."
        )
    return mask


def _question(batch: Mapping[str, Any], labels: Mapping[str, int]) -> LabelQuestion | None:
    """What is asked about labels; a stack of slices is a volume in which nothing moves across."""
    if "moving_label" not in batch or not labels:
        return None
    flat = batch["fixed_image"].ndim == 4
    moving: Tensor = batch["moving_label"]
    fixed: Tensor | None = batch.get("fixed_label")
    if flat:
        moving, fixed = _stacked(moving), None if fixed is None else _stacked(fixed)
    spacing = torch.linalg.vector_norm(batch["affine"][0, :3, :3].double(), dim=0)
    counts = LabelCounts(moving, labels, spacing_mm=spacing, fixed_labels=fixed)
    return LabelQuestion(counts, partial(from_slices, axis=ACROSS) if flat else _same)


def _same(field: Tensor) -> Tensor:
    return field


def _stacked(slices: Tensor) -> Tensor:
    """(N, 1, X, Y) as (1, 1, X, Y, N)."""
    return slices.movedim(0, -1).unsqueeze(0).contiguous()


def slicewise(summary: PosteriorSummary) -> Tensor | None:
    """Label probabilities in the arrangement of the batch, (P, L, *S); those of a stack were kept as a volume."""
    found = summary.probabilities
    return found if found is None or summary.mean.shape[1] == 3 else found[0].movedim(-1, 0)


def calibration_of(
    summary: PosteriorSummary,
    batch: Mapping[str, Any],
    displacement: Tensor,
    *,
    band_mm: float,
    labels: Mapping[str, int],
    seed: int,
) -> Calibration:
    """Compare the summary of a case with its known motion and its fixed labels, as far as there are any.

    Args:
        summary: of the samples.
        batch: the case.
        displacement: (P, D, *S) the single answer, whose label errors the spread should find.
        band_mm: as `PosteriorTask`.
        labels: structure → code.
        seed: of the random map that stands beside the spread.
    """
    here = {key: value.cpu() if isinstance(value, Tensor) else value for key, value in batch.items()}
    moving, truth = here.get("moving_label"), here.get("displacement")
    return case_calibration(
        here,
        _predicted(summary, truth),
        band_mm=band_mm,
        labels=labels,
        probabilities=slicewise(summary),
        warped_label=None if moving is None else warp_labels(moving, displacement.cpu()),
        seed=seed,
    )


def _predicted(summary: PosteriorSummary, truth: Tensor | None) -> Predicted:
    """The summary as the calibration takes it; the score of the samples needs equally many in every slice."""
    probe, equal = summary.probe, summary.ranks is not None
    samples = places = None
    if probe is not None and truth is not None and equal:
        samples = torch.cat([probe.samples(pair).movedim(1, 2) for pair in range(probe.pairs)], dim=1)
        parts = [truth[k].flatten(1)[:, probe.positions[k]].mT for k in range(probe.pairs)]
        places = torch.cat(parts)
    return Predicted(
        mean=summary.mean,
        std=summary.std(),
        covariance=summary.covariance,
        ranks=summary.ranks,
        samples=round(summary.count),
        probe=samples,
        probe_truth=places,
    )
