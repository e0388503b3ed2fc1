"""`history.csv`: every logged scalar, one row each, the local truth behind the curves."""

from __future__ import annotations

from pathlib import Path

import pytorch_lightning as pl

from medreg.callbacks.tabular import append_rows, read_rows, replace_rows

HEADER = ("step", "epoch", "name", "value")


class History(pl.Callback):
    """Append training scalars at the end of each epoch and validation scalars after each validation."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Drop rows of epochs that a resumed run will repeat."""
        if trainer.is_global_zero:
            file = self._file(trainer)
            kept = [row for row in read_rows(file) if int(row["epoch"]) < trainer.current_epoch]
            replace_rows(file, HEADER, kept)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write what validation logged."""
        if not trainer.sanity_checking:
            self._write(trainer, "val/")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write what training logged."""
        self._write(trainer, "train/")

    def _write(self, trainer: pl.Trainer, prefix: str) -> None:
        rows = [
            {"step": trainer.global_step, "epoch": trainer.current_epoch, "name": name, "value": float(value)}
            for name, value in sorted(trainer.callback_metrics.items())
            if name.startswith(prefix)
        ]
        if trainer.is_global_zero and rows:
            append_rows(self._file(trainer), HEADER, rows)

    @staticmethod
    def _file(trainer: pl.Trainer) -> Path:
        return Path(trainer.default_root_dir) / "history.csv"
