"""A training that learns nothing and writes down the batches that it is given."""

from __future__ import annotations

import pytorch_lightning as pl
import torch


class Recorder(pl.LightningModule):
    """Appends (epoch, *digest(batch)) to a list."""

    def __init__(self, seen, digest):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen, self.digest = seen, digest

    def training_step(self, batch):
        self.seen.append((self.current_epoch, *self.digest(batch)))
        return self.weight.sum()

    def validation_step(self, batch):
        """See the validation case."""

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def recorded_fit(data, folder, digest, *, epochs, ckpt=None):
    """The trainer and what was seen."""
    seen = []
    trainer = pl.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=folder,
    )  # fmt: skip
    trainer.fit(Recorder(seen, digest), data, ckpt_path=ckpt, weights_only=True)
    return trainer, seen
