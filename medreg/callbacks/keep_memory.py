"""Freed memory is kept on a CPU, where there is enough of it."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from medreg.errors import ConfigError
from medreg.kernels.allocator import is_glibc, keep_freed_memory, memory_limit, peak_memory


class KeepMemory(Callback):
    """Spare a CPU run the page faults of its large arrays, if its first step has left enough memory for that.

    Kept memory makes the peak up to two thirds larger. GPUs have an allocator of torch's own that keeps memory.

    Args:
        share: of the memory of the machine or container that all processes of the run may have needed at most until
            the end of the first step, 0 to 1.

    Raises:
        ConfigError: a share that is no such number.
    """

    def __init__(self, *, share: float = 0.4) -> None:
        if not isinstance(share, int | float) or not 0 <= share <= 1:
            raise ConfigError(f"callbacks.keep_memory.share={share} must be a number from 0 (never) to 1.")
        self.share = share
        self.decided = False

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Decide after the first step."""
        self._decide(trainer)

    def on_test_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Decide after the first case."""
        self._decide(trainer)

    def _decide(self, trainer: pl.Trainer) -> None:
        if self.decided:
            return
        self.decided = True
        if trainer.strategy.root_device.type != "cpu" or not is_glibc():
            return
        if peak_memory() * trainer.num_devices <= self.share * memory_limit():
            keep_freed_memory()
