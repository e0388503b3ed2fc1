"""All metrics of one segmented case as rows of the results table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from medreg.errors import DataError
from medreg.metrics.overlap import dice_from_counts, label_index, voxel_counts
from medreg.metrics.rows import MetricRow, row, rows_with_mean
from medreg.metrics.structures import StructureEvaluator, case_name, spacing_of


class SegmentationEvaluator(StructureEvaluator):
    """Dice, IoU, surface distances and volumes of predicted structures, against true labels where there are any.

    A structure that both maps lack has no Dice; one that only one of them has gets 0 (`vanished="either"`) and counts
    as lost. `unmatched_slices` of a stack counts, for all structures, the slices of one map alone, which have no
    distance.
    Arguments and stacks of slices: see `StructureEvaluator`.
    """

    def __init__(self, labels: Mapping[str, int] | None, **options: Any) -> None:
        super().__init__(labels, **{"vanished": "either", **options})
        self.check_choices()

    def __call__(self, batch: Mapping[str, Any], prediction: Tensor) -> list[MetricRow]:
        """Rows of one case, in the order overlap, surfaces, volumes.

        Args:
            batch: one case with `case`, `spacing_mm`, perhaps `label` (N, 1, *S) and `affine` (N, 4, 4), voxel → mm;
                N is 1 or the slices of a stack.
            prediction: (N, 1, *S) label codes.

        Raises:
            DataError: the batch holds more than one case, or labels and prediction differ in shape.
        """
        case, truth = case_name(batch), batch.get("label")
        if truth is not None and truth.shape != prediction.shape:
            raise DataError(
                f"Case {case}: the labels have shape {tuple(truth.shape)} and the prediction "
                f"{tuple(prediction.shape)}; both must lie on one grid."
            )
        codes = list(self.labels.values())
        if not codes:
            return []
        found = label_index(prediction[:, 0], codes)
        known = None if truth is None else label_index(truth[:, 0], codes)
        rows: list[MetricRow] = []
        if known is not None:
            spacing_mm = spacing_of(batch, case)[0].tolist() if self.surface else []
            rows += self.compare(known, found, spacing_mm)
            rows += self._jaccard(known, found)
            rows += self.cut_off(batch)
        return [*rows, *self._volumes(batch, known, found)]

    def mean_dice(self, truth: Tensor, prediction: Tensor) -> float:
        """Mean Dice over the structures of one case, NaN where neither map shows any.

        Args:
            truth: (N, 1, *S) label codes.
            prediction: (N, 1, *S) label codes.
        """
        codes = list(self.labels.values())
        maps = (label_index(labels[:, 0], codes) for labels in (truth, prediction))
        return list(self.overlaps(*maps))[-1].value

    def mean_iou(self, truth: Tensor, prediction: Tensor) -> float:
        """Mean intersection over union over the structures of one case; arguments as for `mean_dice`."""
        codes = list(self.labels.values())
        known, found = (label_index(labels[:, 0], codes) for labels in (truth, prediction))
        return list(self._jaccard(known, found))[-1].value

    def _jaccard(self, known: Tensor, found: Tensor) -> Iterator[MetricRow]:
        """Intersection over union of each structure, over all slices together, D / (2 − D)."""
        scores = dice_from_counts(
            *self._counts(known, found, None), vanished=self.vanished, aggregate="per_volume"
        )
        yield from rows_with_mean(
            "iou", dict(zip(self.labels, (scores / (2 - scores)).tolist(), strict=True))
        )

    def _volumes(self, batch: Mapping[str, Any], known: Tensor | None, found: Tensor) -> Iterator[MetricRow]:
        """Volume of each structure and its error (absolute); none without an affine, which knows the slice distance."""
        affine = batch.get("affine")
        if affine is None:
            return
        voxel_ml = torch.linalg.det(affine[0, :3, :3].double()).abs().item() / 1000.0
        own = self._millilitres(found, voxel_ml)
        for name, value in own.items():
            yield row(name, "volume_ml", value)
        if known is not None:
            true = self._millilitres(known, voxel_ml)
            errors = {name: abs(own[name] - true[name]) for name in self.labels}
            yield from rows_with_mean("volume_error_ml", errors)

    def _millilitres(self, index: Tensor, voxel_ml: float) -> dict[str, float]:
        counts = voxel_counts(index, len(self.labels)).sum(0)
        return {name: voxel_ml * count for name, count in zip(self.labels, counts.tolist(), strict=True)}
