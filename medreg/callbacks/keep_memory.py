"""Freed memory is kept while training or testing on a CPU."""

from __future__ import annotations

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from medreg.kernels.allocator import keep_freed_memory


class KeepMemory(Callback):
    """Spare a CPU run the page faults of its large arrays; GPUs have an allocator of torch's own that keeps memory.

    Drop it with `~callbacks.keep_memory` where several runs share a machine that is short of memory.
    """

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Set the allocator before the first step."""
        if trainer.strategy.root_device.type == "cpu":
            keep_freed_memory()
