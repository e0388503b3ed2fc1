"""Segmentation with a predictive distribution: mean probabilities over draws, and whether they are true."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from medreg.errors import CompositionError, ConfigError
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
        **options: of `SegmentationTask`; its loss is that of validation. Of an augmentation, the random change of
            the images and labels alone: the likelihood is that of what the change has made.

    Raises:
        ConfigError: no draw.
        CompositionError: a network without draws; a loss of consistency, learning without labels or an average of
            weights, which are no part of a likelihood.
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
        super().__init__(model, band_mm=band_mm, seed=seed, **options)
        self.draws = draws
        self._refuse_other_losses()

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Return the objective of one batch, in nats a voxel."""
        moment = self._moment(batch, batch_index)
        image, target = self.augmented(batch["image"], self._target(batch["label"]), moment)

        def likelihood(scores: Tensor) -> Tensor:
            loss = F.cross_entropy(self._cut(scores, image), target, reduction="none")
            return -loss.flatten(1).sum(1)

        size = len(batch["image"]) * int(self.trainer.num_training_batches)  # images of an epoch
        voxels = image[0, 0].numel()
        loss = self.sampled.objective(self._padded(image), likelihood, size=size) / voxels
        self.check_finite(loss, batch)
        self.train_means.add({"loss": loss}, size=len(batch["image"]))
        return loss

    def _refuse_other_losses(self) -> None:
        adversary = self.augmentation is not None and self.augmentation.consistency is not None
        there = {
            "augmentation": adversary,
            "semi": self.semi is not None,
            "task.ema": self.average is not None,
        }
        for option, given in there.items():
            if given:
                raise CompositionError(
                    f"task=segmentation_posterior maximises a likelihood of labels, to which {option} as chosen would "
                    "add another loss or other weights. Take augmentation=none or standard (or another random one), "
                    "semi=none and task.ema=null, or a model of task=segmentation, such as unet_16."
                )

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
