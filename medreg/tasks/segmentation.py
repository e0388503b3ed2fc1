"""Segmentation: a network gives every voxel a structure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from medreg.errors import CompositionError
from medreg.metrics.overlap import label_index
from medreg.metrics.rows import MetricRow
from medreg.metrics.runtime import RuntimeMeter
from medreg.metrics.segmentation import SegmentationEvaluator
from medreg.metrics.uncertainty.labels import label_calibration
from medreg.tasks.base import Batch, Task
from medreg.tasks.results import CaseResult, case_arrays, cost_rows


class SegmentationTask(Task):
    """Train a network on labelled images and evaluate it per case.

    Class 0 is everything that no structure covers; class k is the k-th structure of the data.

    Args:
        model: from images (B, 1, *S) to scores (B, L + 1, *S).
        loss: from scores (B, L + 1, *S) and classes (B, 1, *S) to a number.
        evaluator: scores one case.
        multiple: voxels; images are padded with 0 to a multiple of it for the network, as its strides need.
        band_mm: half-width of the band around the true structures in which the probabilities are judged; None: they
            are not.
        optimiser: as in `Task`, like the rest.
    """

    requires: ClassVar[frozenset[str]] = frozenset({"image", "label", "case"})
    sections = (*Task.sections, "medreg.reporting.label_pictures.cases")

    def __init__(
        self,
        model: nn.Module,
        loss: nn.Module,
        *,
        evaluator: SegmentationEvaluator,
        multiple: int,
        band_mm: float | None = None,
        optimiser: Callable[[Any], torch.optim.Optimizer] | None = None,
        scheduler: Callable[[torch.optim.Optimizer], Any] | None = None,
        name: str = "model",
    ) -> None:
        super().__init__(model, evaluator=evaluator, optimiser=optimiser, scheduler=scheduler, name=name)
        self.loss = loss
        self.multiple = multiple
        self.band_mm = band_mm

    def scores(self, image: Tensor) -> Tensor:
        """Return the scores of every class, (B, L + 1, *S).

        Args:
            image: (B, 1, *S).

        Raises:
            CompositionError: the network gives another number of classes than the data have.
        """
        return self._cut(self.model(self._padded(image)), image)

    def _padded(self, image: Tensor) -> Tensor:
        """Return the image padded with 0 to what the network takes."""
        padding = [part for size in reversed(image.shape[2:]) for part in (0, -size % self.multiple)]
        return nn.functional.pad(image, padding)

    def _cut(self, scores: Tensor, image: Tensor) -> Tensor:
        """Return scores on the grid of the image; refuse another number of classes than the data have."""
        classes = len(self.evaluator.labels) + 1
        if scores.shape[1] != classes:
            raise CompositionError(
                f"The network gives {scores.shape[1]} classes, but the data have {classes - 1} structures and the "
                f"background; set model.out_channels={classes}."
            )
        for axis, size in enumerate(image.shape[2:], start=2):
            scores = scores.narrow(axis, 0, size)
        return scores

    def predict(self, image: Tensor) -> Tensor:
        """Return the code of the most probable structure of every voxel, (B, 1, *S); 0 where there is none."""
        return self._codes(self.scores(image))

    def probabilities(self, image: Tensor) -> Tensor:
        """Return the probability of every class, (B, L + 1, *S), which the evaluation and `medreg segment` use."""
        return self.scores(image).softmax(1)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Return the loss of one batch."""
        loss = self._loss(self.scores(batch["image"]), batch)
        self.check_finite(loss, batch)
        self.train_means.add({"loss": loss}, size=len(batch["image"]))
        return loss

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Accumulate loss and mean Dice of one case."""
        scores = self.scores(batch["image"])
        dice = self.evaluator.mean_dice(batch["label"], self._codes(scores))
        self.add_validation(loss=self._loss(scores, batch), dice_mean=dice)

    def test_step(self, batch: Batch, batch_index: int) -> CaseResult:  # type: ignore[override]
        """Score one case."""
        with RuntimeMeter(self.device) as meter:
            probabilities = self.probabilities(batch["image"])
            found = self._codes(probabilities)
        rows = [*self.evaluator(batch, found), *self._calibration(batch, probabilities)]
        shown = {"image": batch["image"], "label": batch["label"], "prediction": found}
        return CaseResult(
            case=batch["case"][0],
            rows={self.name: [*rows, *cost_rows(meter.usage)]},
            columns={"phase": str(batch["phase"][0])} if "phase" in batch else {},
            arrays=case_arrays(batch, {name: array[:, 0] for name, array in shown.items()}),
        )

    def _calibration(self, batch: Batch, probabilities: Tensor) -> list[MetricRow]:
        """Rows that say whether the probabilities near the true outlines are true."""
        if self.band_mm is None or not self.evaluator.labels:
            return []
        stated = probabilities[:, 1:].float().clamp(0, 1)
        found = label_calibration(
            stated, batch["label"], self.evaluator.labels,
            spacing_mm=batch["spacing_mm"][0].cpu(), band_mm=self.band_mm,
        )  # fmt: skip
        return found.rows

    def _codes(self, scores: Tensor) -> Tensor:
        codes = torch.tensor([0, *self.evaluator.labels.values()], device=scores.device)
        return codes[scores.argmax(dim=1, keepdim=True)]

    def _loss(self, scores: Tensor, batch: Batch) -> Tensor:
        classes = label_index(batch["label"], list(self.evaluator.labels.values()))
        return self.loss(scores, classes)
