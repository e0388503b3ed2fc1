"""A callback that says where the time of a training run goes.

Add it to any run: `+callbacks.stopwatch._target_=experiments.performance.stopwatch.Stopwatch
+callbacks.stopwatch.file=/tmp/time.json +callbacks.stopwatch.skip=1`.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

Moment = tuple[float, float]


def _now() -> Moment:
    return time.perf_counter(), time.process_time()


class Stopwatch(pl.Callback):
    """Wall and CPU seconds of forward, backward, optimiser, data, validation and checkpoints, as a JSON file.

    "forward" is the model and the energy, "optimiser" the update alone, "data" the wait for the next batch.
    What is left of "total" is Lightning, logging and the other callbacks. Not synchronised with a GPU: for CPU
    runs.

    Args:
        file: written at the end of training.
        skip: epochs that are not counted, such as the first, which reads the images.
    """

    def __init__(self, *, file: str, skip: int) -> None:
        self.file, self.skip = Path(file), skip
        self.spent: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        self.counts: dict[str, int] = defaultdict(int)
        self.since: dict[str, Moment] = {}
        self.on = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put clocks around model, energy, optimiser and checkpoints."""
        task: Any = pl_module
        task.register = self._timed("forward", task.register, lambda: trainer.training)
        task.loss = self._timed("forward", task.loss, lambda: trainer.training)
        saving: Any = trainer
        saving.save_checkpoint = self._timed("checkpoint", trainer.save_checkpoint, lambda: True)
        for optimiser in trainer.optimizers:
            optimiser.register_step_post_hook(lambda *_: self._stop("optimiser"))

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin to count when the skipped epochs are over."""
        if trainer.current_epoch == self.skip and not self.on:
            self.on = True
            self._start("total")
        self.counts["epochs"] += self.on
        self._start("data")

    def on_train_batch_start(self, *args: Any) -> None:
        """The batch has come."""
        self._stop("data")
        self.counts["steps"] += self.on

    def on_before_backward(self, *args: Any) -> None:
        """The loss is known."""
        self._start("backward")

    def on_after_backward(self, *args: Any) -> None:
        """The gradients are known."""
        self._stop("backward")

    def on_before_optimizer_step(self, *args: Any) -> None:
        """The update begins."""
        self._start("optimiser")

    def on_train_batch_end(self, *args: Any) -> None:
        """Wait for the next batch."""
        self._start("data")

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Validation begins; nobody waits for a training batch meanwhile."""
        self.since.pop("data", None)
        self._start("validation")

    def on_validation_batch_end(self, *args: Any) -> None:
        """Count the cases."""
        self.counts["validation_cases"] += self.on

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Validation is over."""
        self.counts["validations"] += self.on
        self._stop("validation")

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the sums."""
        self._stop("total")
        parts = {name: {"wall_s": wall, "cpu_s": cpu} for name, (wall, cpu) in self.spent.items()}
        if trainer.is_global_zero:
            self.file.write_text(json.dumps({"parts": parts, "counts": self.counts}, indent=2))

    def _start(self, part: str) -> None:
        self.since[part] = _now()

    def _stop(self, part: str) -> None:
        begun = self.since.pop(part, None)
        if begun is not None and self.on:
            for kind, (before, after) in enumerate(zip(begun, _now(), strict=True)):
                self.spent[part][kind] += after - before

    def _timed(self, part: str, call: Callable[..., Any], wanted: Callable[[], bool]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            if not wanted():
                return call(*args, **kwargs)
            self._start(part)
            try:
                return call(*args, **kwargs)
            finally:
                self._stop(part)

        return run
