"""Further files of evaluated cases, such as those of a posterior, in folders of the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from medreg.callbacks.pictures import file_name
from medreg.tasks.results import CaseResult


class CaseFiles(pl.Callback):
    """Write what a task gives to write into `<name>/<case>/` of the run folder, such as `posterior/<case>/`.

    Args:
        cases: of the first so many test cases; None: of all.
    """

    def __init__(self, *, cases: int | None) -> None:
        self.cases = cases

    def on_test_batch_end(  # noqa: D102
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if not isinstance(outputs, CaseResult) or (self.cases is not None and batch_idx >= self.cases):
            return
        for name, write in outputs.writers.items():
            write(Path(trainer.default_root_dir) / name / file_name(outputs.case))
