"""True labels beside a segmentation: checked before the work, compared on the grid of the file after it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medreg.errors import DataError
from medreg.io.frames import split_frame
from medreg.io.image import Volume, existing_file, frame_count, read_labels
from medreg.io.objects import placed
from medreg.io.on_grid import called, check_on_grid
from medreg.io.stack import tensor_of
from medreg.metrics.rows import MetricRow
from medreg.metrics.segmentation import SegmentationEvaluator
from medreg.registering.pair import Source, as_labels
from medreg.segmenting.image import ROLE
from medreg.segmenting.prepared import PreparedImage

TRUTH = "label map"


def read_truth(source: Source, image: Volume, frame: int | None = None) -> Volume:
    """Return the true labels of an image; a bare array is taken to lie on it.

    Args:
        source: file or label map in memory.
        image: the image that it belongs to.
        frame: of the image; a file of labels with frames has the same.

    Raises:
        DataError: it cannot be read, or its codes are no exact integers.
    """
    if isinstance(source, str | Path):
        file, named = split_frame(source)
        several = str(file).endswith((".nii", ".nii.gz")) and frame_count(existing_file(file)) > 1
        return read_labels(file, frame=frame if named is None and several else named)
    given = placed(source, TRUTH)
    volume = as_labels(given, TRUTH)
    if isinstance(given, Volume):
        return volume
    return Volume(volume.array, image.affine, image.spacing_mm)


def check_truth(truth: Volume, image: Volume, structures: Mapping[str, int]) -> None:
    """Refuse true labels that lie on another grid, or hold codes that the run does not know.

    Raises:
        DataError: naming the files, the codes and what the run knows.
    """
    check_on_grid(truth, TRUTH, image, ROLE, remedy="Resample it with nearest neighbour")
    known = {0, *structures.values()}
    unknown = sorted({int(code) for code in np.unique(truth.array)} - known)
    if unknown:
        told = ", ".join(f"{name} {code}" for name, code in structures.items())
        raise DataError(
            f"{called(truth, TRUTH)} holds label {', '.join(map(str, unknown))}, which the run does not know (it knows "
            f"{told}). Change the codes in the file to those of the run."
        )


def measure(
    evaluator: SegmentationEvaluator, prepared: PreparedImage, segmented: Tensor, truth: Volume | None
) -> list[MetricRow]:
    """Return volumes and, with true labels, overlap and surface distances on the grid of the file.

    Args:
        evaluator: of the run; surface distances are measured in any case.
        prepared: says across which axis of the file slices lie.
        segmented: (X, Y, Z) codes.
        truth: true labels on the grid of the file.
    """
    scorer, axis, grid = copy.copy(evaluator), prepared.slice_axis, prepared.file
    scorer.surface = True
    kept = [k for k in range(3) if k != axis]
    batch: dict[str, Any] = {
        "case": [ROLE],
        "spacing_mm": grid.spacing_mm[kept].float().unsqueeze(0),
        "affine": grid.affine.unsqueeze(0),
    }
    if truth is not None:
        batch["label"] = _stacked(tensor_of(truth, dtype=torch.int64)[0, 0], axis)
    return scorer(batch, _stacked(segmented, axis))


def _stacked(array: Tensor, axis: int | None) -> Tensor:
    """Return (1, 1, X, Y, Z), or the slices (N, 1, A, B) across an axis."""
    return array[None, None] if axis is None else array.movedim(axis, 0).unsqueeze(1).contiguous()
