"""Checkpoints in the run folder: the last epoch's, for resuming, and the best one's, for evaluation.

A file is written beside its place and then renamed, so that a run killed at any moment leaves a whole checkpoint:
the new one or the one before.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint

from medreg.errors import ConfigError
from medreg.io.atomic import replacing

FOLDER = "checkpoints"
LAST, BEST, PREVIOUS = "last.ckpt", "best.ckpt", "previous.ckpt"


def save_atomically(trainer: pl.Trainer, name: str, *, weights_only: bool = False) -> None:
    """Save a checkpoint of the given file name into the run folder, replacing the earlier one in one step."""
    target = Path(trainer.default_root_dir) / FOLDER / name
    if not trainer.is_global_zero:  # takes part in collecting the state, and writes nothing
        trainer.save_checkpoint(target, weights_only=weights_only)
        return
    for left in target.parent.glob(".*.part.ckpt"):  # by a run that was killed while it wrote
        left.unlink()
    with replacing(target) as part:
        trainer.save_checkpoint(part, weights_only=weights_only)
        if name == LAST:
            keep_previous(target)


def keep_previous(last: Path) -> None:
    """Let the last checkpoint be the one before, in case that the new one is damaged; a second name costs nothing.

    On a file system without second names (hard links) there is no one before.
    """
    if not last.is_file():
        return
    name = last.with_name(f".previous.{os.getpid()}.part.ckpt")
    with suppress(OSError, NotImplementedError):
        name.unlink(missing_ok=True)
        name.hardlink_to(last)
        name.replace(last.with_name(PREVIOUS))


class LastCheckpoint(Checkpoint):
    """`last.ckpt`, at the end of training epochs; `previous.ckpt` is the one before.

    Args:
        every_n_epochs: how often; the last epoch is always saved.
    """

    def __init__(self, *, every_n_epochs: int = 1) -> None:
        self.every_n_epochs = every_n_epochs

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save model, optimiser, schedulers, loops and callbacks."""
        done = trainer.current_epoch + 1
        if done % self.every_n_epochs == 0 or done == trainer.max_epochs or trainer.should_stop:
            save_atomically(trainer, LAST)


class BestCheckpoint(Checkpoint):
    """`best.ckpt`: the weights with the best validation metric so far.

    Args:
        monitor: name of a logged metric; data without labels have no Dice, and `val/loss` takes its place.
        mode: `max` or `min`.
    """

    def __init__(self, *, monitor: str, mode: str) -> None:
        self.monitor, self.mode = monitor, mode
        self.score: float | None = None

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the weights if the metric improved.

        Raises:
            ConfigError: the metric is not logged, but one of nearly its name is.
        """
        if trainer.sanity_checking or (not trainer.training and trainer.state.fn != "fit"):
            return
        if self.monitor not in trainer.callback_metrics:
            refuse_misspelt(self.monitor, trainer.callback_metrics)
            self.monitor, self.mode = "val/loss", "min"
        value = float(trainer.callback_metrics.get(self.monitor, math.nan))
        sign = 1.0 if self.mode == "max" else -1.0
        if math.isfinite(value) and (self.score is None or sign * value > sign * self.score):
            self.score = value
            save_atomically(trainer, BEST, weights_only=True)

    def state_dict(self) -> dict[str, Any]:
        """Return the best score so far, for the checkpoint."""
        return {"score": self.score, "monitor": self.monitor, "mode": self.mode}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from the best score so far; where there is none yet, by the metric that is asked for now."""
        self.score = state_dict["score"]
        if self.score is not None:
            self.monitor, self.mode = state_dict["monitor"], state_dict["mode"]


def refuse_misspelt(monitor: str, logged: Iterable[str]) -> None:
    """Raise ConfigError where a metric is missing and one of nearly its name is there."""
    known = sorted(name for name in logged if name.startswith("val/"))
    near = get_close_matches(monitor, known, n=1, cutoff=0.8)
    if near:
        raise ConfigError(
            f"callbacks.best.monitor={monitor}: no such metric is logged. Did you mean {near[0]!r}? There are "
            f"{', '.join(known)}. The same command with another name goes on from here."
        )
