"""What tasks on shapes of hearts share: the conditions of the data, chance, the evaluation of a case."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch

from medreg.models.hearts.base import ShapeModel
from medreg.models.hearts.conditions import Covariates
from medreg.tasks.base import Batch, Task
from medreg.tasks.hearts.sequence_case import Evaluation
from medreg.tasks.moment import chance
from medreg.tasks.results import CaseResult


class ShapeTask(Task):
    """A task whose cases are label maps over the cycle, with or without conditions.

    Before anything is trained the conditions meet the data: all must be told, categories must have the model's values,
    and the range of every condition in training becomes part of the checkpoint.

    Args:
        model: of shapes.
        evaluation: from model and batch of one heart to its `CaseResult`.
        optimiser: as in `Task`.
        scheduler: as in `Task`.
        name: as in `Task`.
        seed: of all that is drawn, which follows from seed, step and case only.
    """

    model: ShapeModel
    requires: ClassVar[frozenset[str]] = frozenset({"shape", "case"})
    sections = (
        "medreg.reporting.heart_sections.results",
        "medreg.reporting.heart_sections.facts",
        "medreg.reporting.heart_sections.cases",
        "medreg.reporting.heart_ageing_sections.ages",
        "medreg.reporting.heart_ageing_sections.course",
        "medreg.reporting.heart_ageing_sections.second_visits",
        "medreg.reporting.heart_ageing_sections.collusion",
        "medreg.reporting.heart_sections.curves",
        "medreg.reporting.heart_sections.distributions",
        "medreg.reporting.heart_sections.effects",
        "medreg.reporting.heart_sections.extremes",
        "medreg.reporting.sections.training",
    )

    def __init__(
        self,
        model: ShapeModel,
        *,
        evaluation: Evaluation,
        optimiser: Callable[[Any], torch.optim.Optimizer] | None = None,
        scheduler: Callable[[torch.optim.Optimizer], Any] | None = None,
        name: str = "model",
        seed: int = 0,
    ) -> None:
        super().__init__(
            model, evaluator=evaluation.evaluator, optimiser=optimiser, scheduler=scheduler, name=name
        )
        self.evaluation, self.seed = evaluation, seed

    def on_fit_start(self) -> None:
        """Let the conditions meet the data.

        Raises:
            CompositionError: a condition that the data do not tell, or a category with other values.
        """
        super().on_fit_start()
        data = getattr(self.trainer, "datamodule", None)
        conditions = self.model.conditions
        if data is None or not conditions.size:
            return
        known: Covariates = data.training_covariates()
        conditions.require(known)
        conditions.check_categories(data.categories)
        conditions.observe(known)

    def chance(self, batch_index: int, stream: str) -> torch.Generator:
        """Return the source of chance of a training batch, which depends on seed, step, process and purpose only."""
        return chance(
            self.seed, self.step_number(batch_index), self.global_rank, stream=stream, device=self.device
        )

    def test_step(self, batch: Batch, batch_index: int) -> CaseResult:  # type: ignore[override]
        """Score one heart."""
        return self.evaluation(self.model, batch, name=self.name, device=self.device, seed=self.seed)


def covariates_of(batch: Batch) -> Covariates:
    """Return the covariates of a batch; none where the data tell nothing."""
    found: Covariates = batch.get("covariates", {})
    return found
