"""What callbacks that see every evaluated case have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import pytorch_lightning as pl

from medreg.tasks.results import CaseResult


class OnCase(pl.Callback, ABC):
    """Told of each case of a test as soon as it is scored."""

    @abstractmethod
    def on_case(self, trainer: pl.Trainer, result: CaseResult, index: int) -> None:
        """Take a case.

        Args:
            trainer: that tests.
            result: rows, arrays and further files of the case.
            index: place of the case in the test of this process, from 0.
        """

    def on_all_cases(self, trainer: pl.Trainer, task: Any, data: Any, *, trained: bool) -> None:
        """Take note that all cases are scored, those of an interrupted evaluation among them; in the main process.

        Called by the runner even where no case was left to score; by default nothing is done.

        Args:
            trainer: that tests.
            task: that was evaluated.
            data: data module.
            trained: whether the weights have seen the training set of these data.
        """

    def on_test_batch_end(  # noqa: D102
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if isinstance(outputs, CaseResult):
            self.on_case(trainer, outputs, batch_idx)
