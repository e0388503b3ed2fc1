"""What all hearts of an evaluation show together: the rows of the case `population`."""

from __future__ import annotations

import pytorch_lightning as pl

from medreg.callbacks.on_case import OnCase
from medreg.tasks.results import CaseResult


class Population(OnCase):
    """Pool the hearts of `measures.csv` at the end of a test, whether or not it was interrupted."""

    def on_case(self, trainer: pl.Trainer, result: CaseResult, index: int) -> None:  # noqa: D102
        return
