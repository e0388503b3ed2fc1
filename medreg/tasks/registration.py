"""Pairwise registration: the energy is the loss, the model is its solver."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from torch import Tensor
from torchmetrics import MeanMetric

from medreg.errors import ConfigError, NumericalError
from medreg.geometry.warp import warp, warp_labels
from medreg.inference.registration import Registration
from medreg.losses.energy import Energy, EnergyValue
from medreg.metrics.evaluator import CaseEvaluator, MetricRow
from medreg.metrics.overlap import dice
from medreg.metrics.runtime import RuntimeMeter, RuntimeUsage
from medreg.models.asking import ask, masks_of
from medreg.models.base import RegistrationModel
from medreg.tasks.epoch_means import EpochMeans
from medreg.tasks.results import UNREGISTERED, CaseResult

Batch = dict[str, Any]


class RegistrationTask(pl.LightningModule):
    """Train a registration model on an energy and evaluate it per case.

    Args:
        model: predicts, unrolls or optimises a deformation.
        energy: similarity plus regularisation; the training loss, and what refinement minimises.
        evaluator: scores one case.
        optimiser: makes an optimiser from parameters; unused by models without any.
        scheduler: makes a learning-rate scheduler from the optimiser, stepped every epoch.
        refine: instance optimisation that starts from the model's answer, at test time.
        name: of the method in the results table; the runner sets it to the chosen option.
        use_masks: compare images within their masks only, where the data have any.

    Attributes:
        provenance: plain facts (resolved configuration, overrides, commit, data fingerprint) that every
            checkpoint carries under the key `medreg`; the runner sets them.
    """

    requires: ClassVar[frozenset[str]] = frozenset({"fixed_image", "moving_image", "case"})

    def __init__(
        self,
        model: RegistrationModel,
        energy: Energy,
        *,
        evaluator: CaseEvaluator,
        optimiser: Callable[[Any], torch.optim.Optimizer] | None = None,
        scheduler: Callable[[torch.optim.Optimizer], Any] | None = None,
        refine: RegistrationModel | None = None,
        name: str = "model",
        use_masks: bool = True,
    ) -> None:
        super().__init__()
        self.model = model
        self.energy = energy
        self.evaluator = evaluator
        self.refine = refine or None
        self.name = name
        self.use_masks = use_masks
        self.provenance: dict[str, Any] = {}
        self._optimiser = optimiser
        self._scheduler = scheduler
        self.train_means, self.val_loss = EpochMeans(), MeanMetric()
        self.val_dice = MeanMetric(nan_strategy="ignore")  # of a pair that shows none of the structures

    @property
    def trainable(self) -> bool:
        """Whether training would change anything."""
        return self.model.trainable

    def register(self, batch: Batch) -> Registration:
        """Return the model's answer to a batch."""
        return ask(self.model, batch, use_masks=self.use_masks)

    def _masks(self, batch: Batch) -> dict[str, Tensor | None]:
        return masks_of(batch, use_masks=self.use_masks)

    def loss(self, batch: Batch, registration: Registration) -> EnergyValue:
        """Return the energy of an answer.

        Raises:
            NumericalError: the energy is not finite; names the cases.
        """
        value = self.energy(
            batch["fixed_image"],
            batch["moving_image"],
            registration.deformation,
            spacing_mm=batch.get("spacing_mm"),
            **self._masks(batch),
        )
        if not torch.isfinite(value.total):
            raise NumericalError(
                f"The energy is {float(value.total.detach())} in epoch {self.current_epoch} "
                f"(cases {', '.join(sorted(set(batch['case'])))}). "
                "Lower optimiser.lr, or set trainer.gradient_clip_val=1.0; debug=anomaly names the operation. "
                "The same command continues from the last checkpoint."
            )
        return value

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Return the energy of one batch, and keep it and its two parts for the means of the epoch."""
        value = self.loss(batch, self.register(batch))
        parts = {
            "loss": value.total,
            "similarity": value.similarity.mean(),
            "regularisation": value.regularisation.mean(),
        }
        self.train_means.add({**parts, **self.model.monitored()}, size=len(batch["case"]))
        return value.total

    def on_train_batch_end(self, *args: Any) -> None:
        """Log the means of the batches so far where the epoch may end: Lightning weighs them by their samples."""
        trainer = self.trainer
        if trainer.is_last_batch or trainer.should_stop or trainer.global_step == trainer.max_steps:
            size = self.train_means.count
            for name, mean in self.train_means.take().items():
                self.log(f"train/{name}", mean, on_step=False, on_epoch=True, batch_size=size)

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Accumulate energy and mean Dice of one case."""
        registration = self.register(batch)
        self.val_loss.update(self.loss(batch, registration).total)
        if "moving_label" in batch and self.evaluator.labels:
            moving = batch["moving_label"]
            warped = warp_labels(moving, registration.displacement)
            scores = dice(batch["fixed_label"], warped, self.evaluator.labels, moving_labels=moving)
            self.val_dice.update(torch.tensor(list(scores.values())).nanmean())

    def on_validation_epoch_end(self) -> None:
        """Log the means over all cases of all processes."""
        self.log("val/loss", self.val_loss.compute())
        if self.val_dice.update_called:
            self.log("val/dice_mean", self.val_dice.compute())
        self.val_loss.reset()
        self.val_dice.reset()

    def test_step(self, batch: Batch, batch_index: int) -> CaseResult:  # type: ignore[override]
        """Score one case: unregistered, the model, and the refined model where asked for."""
        nothing = torch.zeros_like(batch["fixed_image"][:, :1]).expand(
            -1, batch["fixed_image"].ndim - 2, *batch["fixed_image"].shape[2:]
        )
        rows = {UNREGISTERED: self._score(batch, nothing.contiguous())}
        with RuntimeMeter(self.device) as meter:
            displacement = self.register(batch).displacement
        rows[self.name] = [*self._score(batch, displacement), *_cost(meter.usage)]
        if self.refine is not None:
            with RuntimeMeter(self.device) as meter:
                displacement = self._refined(batch, displacement)
            rows[f"{self.name}+refine"] = [*self._score(batch, displacement), *_cost(meter.usage)]
        return self._result(batch, rows, displacement)

    def _score(self, batch: Batch, displacement: Tensor) -> list[MetricRow]:
        return self.evaluator(batch, displacement)

    def _refined(self, batch: Batch, displacement: Tensor) -> Tensor:
        assert self.refine is not None
        return ask(self.refine, batch, use_masks=self.use_masks, initial=displacement).displacement

    def _result(self, batch: Batch, rows: dict[str, list[MetricRow]], displacement: Tensor) -> CaseResult:
        label = batch.get("moving_label")
        return CaseResult(
            case=batch["case"][0],
            fixed=batch["fixed_id"][0],
            moving=batch["moving_id"][0],
            rows=rows,
            displacement=displacement,
            warped=warp(batch["moving_image"], displacement),
            warped_label=None if label is None else warp_labels(label, displacement),
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say in the checkpoint where it comes from."""
        checkpoint["medreg"] = self.provenance

    def configure_optimizers(self) -> Any:
        """Return the optimiser, with its scheduler if there is one; nothing for models without parameters."""
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        if not parameters or self._optimiser is None:
            return None
        try:
            optimiser = self._optimiser(parameters)
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"The options of the optimiser do not fit it: {error}. See `medreg show --key optimiser`."
            ) from error
        if self._scheduler is None:
            return optimiser
        return {
            "optimizer": optimiser,
            "lr_scheduler": {"scheduler": self._scheduler(optimiser), "interval": "epoch"},
        }


def _cost(usage: RuntimeUsage) -> list[MetricRow]:
    """Rows of time and memory of one case."""
    return [
        MetricRow("all", "time_s", usage.time_s, "s"),
        MetricRow("all", "peak_memory_mib", usage.peak_memory_mib, "MiB"),
    ]
