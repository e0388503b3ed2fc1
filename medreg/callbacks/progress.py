"""Progress: rich bars on a terminal, one quiet line an epoch in a log."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import RichProgressBar

log = logging.getLogger("medreg")
SHOWN = ("train/loss", "val/loss", "val/dice_mean")


class Progress(RichProgressBar):
    """A rich bar where the output is a terminal; elsewhere a line an epoch and a line every tenth of the cases."""

    def __init__(self) -> None:
        super().__init__(leave=False)
        self._told = 0.0

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Switch the bar off where nobody could see it move."""
        super().setup(trainer, pl_module, stage)
        if not sys.stdout.isatty():
            self.disable()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log loss and validation, at most every two seconds, and at the end."""
        super().on_train_epoch_end(trainer, pl_module)
        now, done = time.monotonic(), trainer.current_epoch + 1
        if (
            not self.is_enabled
            and trainer.is_global_zero
            and (now - self._told > 2 or done == trainer.max_epochs)
        ):
            self._told = now
            shown = {k: v for k, v in trainer.callback_metrics.items() if k in SHOWN}
            text = "  ".join(f"{name} {float(value):.5g}" for name, value in shown.items())
            log.info("epoch %d/%s  %s", done, trainer.max_epochs, text)

    def on_test_batch_end(  # noqa: D102
        self,
        trainer: pl.Trainer,
        pl_module: Any,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        super().on_test_batch_end(trainer, pl_module, outputs, batch, batch_idx, dataloader_idx)
        total = trainer.num_test_batches[dataloader_idx]
        quiet = not self.is_enabled and trainer.is_global_zero and isinstance(total, int)
        if quiet and (batch_idx + 1) % max(1, int(total) // 10) == 0:
            log.info("evaluated %d of %d cases", batch_idx + 1, total)
