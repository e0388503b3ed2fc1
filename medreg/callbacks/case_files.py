"""Further files of evaluated cases, such as those of a posterior, in folders of the run."""

from __future__ import annotations

from pathlib import Path

import pytorch_lightning as pl

from medreg.callbacks.on_case import OnCase
from medreg.callbacks.pictures import file_name
from medreg.tasks.results import CaseResult


class CaseFiles(OnCase):
    """Write what a task gives to write into `<name>/<case>/` of the run folder, such as `posterior/<case>/`.

    Args:
        cases: of the first so many test cases; None: of all.
    """

    def __init__(self, *, cases: int | None) -> None:
        self.cases = cases

    def on_case(self, trainer: pl.Trainer, result: CaseResult, index: int) -> None:  # noqa: D102
        if self.cases is not None and index >= self.cases:
            return
        for name, write in result.writers.items():
            write(Path(trainer.default_root_dir) / name / file_name(result.case))
