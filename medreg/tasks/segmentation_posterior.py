"""Segmentation with a predictive distribution: mean probabilities over draws, and whether they are true."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from medreg.errors import CompositionError, ConfigError
from medreg.metrics.overlap import label_index
from medreg.models.segmentation_samples import SampledSegmentation
from medreg.tasks.base import Batch
from medreg.tasks.segmentation import SegmentationTask


class PosteriorSegmentationTask(SegmentationTask):
    """Train what a sampled network minimises; evaluate the mean of the probabilities of its draws.

    Its rows of calibration (error, Brier score and log-likelihood in a band around the structures) are of that mean.

    Args:
        model: a network with draws.
        draws: K a case, where the network lets choose.
        band_mm: half-width of the band around the true structures, in which probabilities are judged.
        seed: of the draws.
        **options: of `SegmentationTask`; its loss is that of validation.

    Raises:
        ConfigError: no draw.
        CompositionError: a network without draws.
    """

    requires: ClassVar[frozenset[str]] = SegmentationTask.requires | {"spacing_mm"}

    def __init__(
        self, model: SampledSegmentation, *, draws: int, band_mm: float, seed: int, **options: Any
    ) -> None:
        if not isinstance(model, SampledSegmentation):
            raise CompositionError(
                f"{type(model).__name__} has no draws; take model=unet_single, unet_dropout, unet_ensemble or "
                "unet_variational, or task=segmentation."
            )
        if draws < 1:
            raise ConfigError(f"task.draws is {draws}; a predictive distribution needs one or more.")
        super().__init__(model, band_mm=band_mm, **options)
        self.draws, self.seed = draws, seed

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Return the objective of one batch, in nats a voxel."""
        image = batch["image"]
        classes = label_index(batch["label"], list(self.evaluator.labels.values()))[:, 0]

        def likelihood(scores: Tensor) -> Tensor:
            loss = F.cross_entropy(self._cut(scores, image), classes.long(), reduction="none")
            return -loss.flatten(1).sum(1)

        size = len(image) * int(self.trainer.num_training_batches)  # images of an epoch
        voxels = image[0, 0].numel()
        loss = self.sampled.objective(self._padded(image), likelihood, size=size) / voxels
        self.check_finite(loss, batch)
        self.train_means.add({"loss": loss}, size=len(image))
        return loss

    def probabilities(self, image: Tensor) -> Tensor:
        """Mean probabilities over draws, (B, L + 1, *S): the same draws for the same seed."""
        generator = torch.Generator(image.device).manual_seed(self.seed)
        with torch.no_grad():
            scores = self.sampled.draws(self._padded(image), self.draws, generator)
        return self._cut(scores.softmax(2).mean(0), image)

    @property
    def sampled(self) -> SampledSegmentation:
        """The network."""
        assert isinstance(self.model, SampledSegmentation)
        return self.model
