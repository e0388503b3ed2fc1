"""Models of hearts that are fitted without an optimiser: one look at every training heart, then evaluation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medreg.errors import CompositionError
from medreg.models.hearts.fitted import FittedModel
from medreg.tasks.base import Batch
from medreg.tasks.hearts.base import ShapeTask


class FittedTask(ShapeTask):
    """Show every training heart to a model once and let it settle; evaluate it as any other model of hearts.

    A fit that is interrupted begins again: there is no checkpoint before it has settled. More epochs than one find
    the same again.

    Args:
        model: as in `ShapeTask`, like the rest; a `FittedModel`.
    """

    model: FittedModel

    def __init__(self, model: FittedModel, **options: Any) -> None:
        super().__init__(model, **options)
        self.automatic_optimization = False

    def configure_optimizers(self) -> Any:
        """No optimiser."""
        return []

    def on_fit_start(self) -> None:
        """Refuse several devices: each would see some of the hearts only."""
        super().on_fit_start()
        if self.trainer.world_size > 1:
            raise CompositionError("A model that is fitted without an optimiser needs trainer.devices=1.")

    def on_train_epoch_start(self) -> None:
        """Begin anew."""
        self.model.begin()

    def training_step(self, batch: Batch, batch_index: int) -> None:
        """Show some hearts to the model."""
        with torch.no_grad():
            self.model.observe(batch["shape"], batch.get("covariates", {}))

    def on_train_batch_end(self, *args: Any) -> None:
        """Settle after the last hearts, before they are validated."""
        if self.trainer.is_last_batch:
            with torch.no_grad():
                self.model.settle()

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Accumulate the mean Dice of completions, and what is missing to 1 as the loss."""
        shape: Tensor = batch["shape"]
        if shape.shape[1] != self.model.frames or not getattr(self.model, "completes", True):
            return
        found = self.model.complete(shape[:, 0], batch.get("covariates", {}))
        for one, other in zip(shape, found, strict=True):
            dice = mean_dice(one, other, self.model.classes)
            self.add_validation(dice_mean=dice, loss=1 - dice)


def mean_dice(one: Tensor, other: Tensor, classes: int) -> Tensor:
    """Return the mean Dice of two sequences over the structures that one of them has, all frames together.

    Args:
        one: (T, *S).
        other: (T, *S).
        classes: L + 1.
    """
    found = []
    for place in range(1, classes):
        inside = (one == place), (other == place)
        total = inside[0].sum() + inside[1].sum()
        if total:
            found.append(2 * (inside[0] & inside[1]).sum() / total)
    return torch.stack(found).mean() if found else torch.tensor(torch.nan, device=one.device)
