"""What tasks of any kind share: provenance, optimiser and schedule, means of an epoch, names of structures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from medreg.errors import ConfigError, NumericalError
from medreg.tasks.epoch_means import EpochMeans

Batch = dict[str, Any]


class Task(pl.LightningModule):
    """Train a model and evaluate it case by case; a kind of work adds its steps.

    A subclass gives `training_step`, `validation_step` and a `test_step` that returns a `CaseResult`. It hands
    training values to `train_means.add` and validation values to `add_validation`; their means are logged as
    `train/NAME` and `val/NAME`.

    Args:
        model: what is trained; checkpoints hold its weights under `model.`.
        evaluator: from a case to its rows; None where the task scores cases itself.
        optimiser: makes an optimiser from parameters; unused by models without any.
        scheduler: makes a learning-rate scheduler from the optimiser, stepped every epoch.
        name: of the method in the results table; the runner sets it to the chosen option.

    Attributes:
        requires: keys of a batch without which the task cannot work.
        sections: dotted names of the functions that draw this kind's sections of the report, in order. They are
            written into run.json and called with the files of a run, see `reporting.section`.
        provenance: plain facts (resolved configuration, overrides, commit, data fingerprint) that every
            checkpoint carries under the key `medreg`; the runner sets them.
    """

    requires: ClassVar[frozenset[str]] = frozenset({"case"})
    clipping: ClassVar[str] = "trainer.gradient_clip_val=1.0"  # what limits its gradients, for a message
    sections: ClassVar[Sequence[str]] = (
        "medreg.reporting.sections.results",
        "medreg.reporting.sections.training",
    )

    def __init__(
        self,
        model: nn.Module,
        *,
        evaluator: Any = None,
        optimiser: Callable[[Any], torch.optim.Optimizer] | None = None,
        scheduler: Callable[[torch.optim.Optimizer], Any] | None = None,
        name: str = "model",
    ) -> None:
        super().__init__()
        self.model = model
        self.evaluator = evaluator
        self.name = name
        self.provenance: dict[str, Any] = {}
        self.train_means = EpochMeans()
        self._validation: dict[str, MeanMetric] = {}
        self._optimiser = optimiser
        self._scheduler = scheduler

    @property
    def trainable(self) -> bool:
        """Whether training would change anything."""
        given = getattr(self.model, "trainable", None)
        return any(p.requires_grad for p in self.model.parameters()) if given is None else bool(given)

    def name_structures(self, labels: Mapping[str, int]) -> None:
        """Tell the evaluator the structures of the data, which some data sets name only on disk."""
        if self.evaluator is not None:
            self.evaluator.labels = dict(labels)

    def check_finite(self, loss: Tensor, batch: Batch) -> None:
        """Refuse a loss that is not finite.

        Raises:
            NumericalError: naming the cases and what helps.
        """
        if torch.isfinite(loss):
            return
        names = sorted(set(batch.get("case", ())))
        raise NumericalError(
            f"The loss is {float(loss.detach())} in epoch {self.current_epoch}"
            f"{' (cases ' + ', '.join(names) + ')' if names else ''}. "
            f"Lower optimiser.lr, or set {self.clipping}; debug=anomaly names the operation. "
            "The same command continues from the last checkpoint."
        )

    def step_number(self, batch_index: int) -> int:
        """Number of a training batch among all of the training, from 0: what is drawn in a step follows from it."""
        if self._trainer is None:
            return batch_index
        return batch_index + self.current_epoch * int(self.trainer.num_training_batches)

    def on_train_batch_end(self, *args: Any) -> None:
        """Log the means of the batches so far where the epoch may end: Lightning weighs them by their samples."""
        trainer = self.trainer
        if trainer.is_last_batch or trainer.should_stop or trainer.global_step == trainer.max_steps:
            size = self.train_means.count
            for name, mean in self.train_means.take().items():
                self.log(f"train/{name}", mean, on_step=False, on_epoch=True, batch_size=size)

    def add_validation(self, **values: Tensor | float) -> None:
        """Add values of one case to the means of this validation; NaN, of what a case does not show, counts nothing."""
        for name, value in values.items():
            if name not in self._validation:
                self._validation[name] = MeanMetric(nan_strategy="ignore").to(self.device)
            self._validation[name].update(value)

    def on_validation_epoch_end(self) -> None:
        """Log the means over all cases of all processes."""
        for name, mean in self._validation.items():
            if mean.update_called:
                self.log(f"val/{name}", mean.compute())
            mean.reset()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say in the checkpoint where it comes from."""
        checkpoint["medreg"] = self.provenance

    def configure_optimizers(self) -> Any:
        """Return the optimiser, with its schedule if there is one; nothing for models without parameters."""
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        if not parameters or self._optimiser is None:
            return None
        try:
            optimiser = self._optimiser(parameters)
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"The options of the optimiser do not fit it: {error}. See `medreg show --key optimiser`."
            ) from error
        schedule = self.schedule_of(optimiser)
        return optimiser if schedule is None else {"optimizer": optimiser, "lr_scheduler": schedule}

    def schedule_of(self, optimiser: torch.optim.Optimizer) -> dict[str, Any] | None:
        """Return Lightning's description of the learning rate's schedule, None for a constant rate."""
        if self._scheduler is None:
            return None
        return {"scheduler": self._scheduler(optimiser), "interval": "epoch"}
