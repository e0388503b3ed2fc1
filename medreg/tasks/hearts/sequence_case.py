"""What is asked of a model of sequences about one heart: to complete it, to generate others like it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from medreg.errors import require_choice, require_whole
from medreg.metrics.hearts.curves import curve_table_rows
from medreg.metrics.rows import MetricRow
from medreg.metrics.runtime import RuntimeMeter
from medreg.models.hearts.base import ShapeModel
from medreg.models.hearts.conditions import Covariates
from medreg.tasks.moment import chance
from medreg.tasks.results import CaseResult, case_arrays, cost_rows

TABLE = "measures"
CURVES = "curves"  # table of volumes over time, for the report
CURVES_KEPT = 5  # samples of a case and source in it
Measures = dict[str, Any]


class Evaluation(Protocol):
    """From a model and one heart to what is known of it."""

    evaluator: Any

    def __call__(
        self, model: Any, batch: Mapping[str, Any], *, name: str, device: torch.device, seed: int
    ) -> CaseResult:
        """Score one heart."""


class SequenceEvaluation:
    """Completion from the first frame, by the mean code and by samples, and generation at the heart's conditions.

    A model that cannot do one of them is asked for the other. What is drawn follows from the seed and the name of the
    case only. The table `measures` gets a row a heart: source `real`, `completed`, `completed_sample` or `generated`.

    Args:
        evaluator: scores sequences, see `medreg.metrics.hearts.evaluator.HeartEvaluator`.
        samples: hearts that are generated with the conditions of every case (20 in CHeart's released evaluation).
        completion_samples: sequences that are drawn for every first frame; 0: none.
        completion: the code of the headline: "mean", or "sample", one draw (released).
    """

    def __init__(
        self,
        evaluator: Any,
        *,
        samples: int,
        completion_samples: int,
        completion: Literal["mean", "sample"],
    ) -> None:
        require_choice("task.evaluation.completion", completion, ("mean", "sample"))
        require_whole("task.evaluation.samples", samples, 0)
        require_whole("task.evaluation.completion_samples", completion_samples, 0)
        self.evaluator, self.completion = evaluator, completion
        self.samples, self.completion_samples = samples, completion_samples

    def __call__(
        self, model: ShapeModel, batch: Mapping[str, Any], *, name: str, device: torch.device, seed: int
    ) -> CaseResult:
        """Score one heart.

        Args:
            model: in evaluation mode.
            batch: one heart, (1, T, *S).
            name: of the method.
            device: whose memory is measured.
            seed: of what is drawn.
        """
        case = _Case(self, batch, seed)
        case.measure("real", [batch["shape"][0]])
        rows: dict[str, list[MetricRow]] = {}
        arrays: dict[str, Tensor] = {}
        if model.completes:
            found, rows[name] = self._completed(model, case, device)
            arrays["completed"] = found
            case.measure("completed", [found[0]])
            drawn = self._completed_samples(model, case)
            if drawn:
                rows[f"{name} samples"] = self._agreement(case, torch.stack(drawn))
        if model.generates and self.samples:
            generated = self._generated(model, case)
            arrays["generated"] = generated[:1]
            rows[f"{name} generated"] = self._agreement(case, generated)
        return CaseResult(
            case=case.name,
            rows=rows,
            arrays=case_arrays(batch, {"label": batch["shape"], **arrays}),
            tables={TABLE: case.rows, **({CURVES: case.curves} if case.curves else {})},
        )

    def _completed(
        self, model: ShapeModel, case: _Case, device: torch.device
    ) -> tuple[Tensor, list[MetricRow]]:
        """The headline completion, (1, T, *S), its scores and its cost."""
        generator = case.chance("completion") if self.completion == "sample" else None
        with RuntimeMeter(device) as meter:
            found = model.complete(case.first, case.covariates, generator=generator)
        rows = self._scored(case, found[0])
        return found, [*rows, *_by_group(rows, case), *cost_rows(meter.usage)]

    def _completed_samples(self, model: ShapeModel, case: _Case) -> list[Tensor]:
        """Drawn completions, (T, *S) each; none where the model has but one answer."""
        generator = case.chance("completion samples")
        several = [
            model.complete(case.first, case.covariates, generator=generator)[0]
            for _ in range(self.completion_samples)
        ]
        if len(several) > 1 and all(torch.equal(several[0], other) for other in several[1:]):
            return []
        case.measure("completed_sample", several)
        return several

    def _generated(self, model: ShapeModel, case: _Case) -> Tensor:
        """Hearts with the conditions of the case, (N, T, *S)."""
        generator = case.chance("generation")
        each = [model.generate(case.covariates, generator=generator)[0] for _ in range(self.samples)]
        case.measure("generated", each)
        return torch.stack(each)

    def _scored(self, case: _Case, found: Tensor) -> list[MetricRow]:
        return list(self.evaluator.completion(case.truth, found, case.spacing_mm))

    def _agreement(self, case: _Case, found: Tensor) -> list[MetricRow]:
        return list(self.evaluator.agreement(case.truth, found, case.spacing_mm))


def _by_group(rows: Sequence[MetricRow], case: _Case) -> list[MetricRow]:
    """The mean Dice again, under the name of the group that the heart belongs to, so that tables have it by group."""
    dice = [row.value for row in rows if (row.structure, row.metric) == ("mean", "dice")]
    return [MetricRow(group, "dice_of_group", value, "1") for group in case.groups for value in dice]


class _Case:
    """One heart: its arrays, and the rows of the table of measures that it has got so far."""

    def __init__(self, evaluation: SequenceEvaluation, batch: Mapping[str, Any], seed: int) -> None:
        self.evaluation, self.batch, self.seed = evaluation, batch, seed
        self.name = str(batch["case"][0])
        self.truth: Tensor = batch["shape"][0]
        self.first: Tensor = batch["shape"][:, 0]
        self.covariates: Covariates = batch.get("covariates", {})
        self.spacing_mm: list[float] = batch["spacing_mm"][0].tolist()
        self.groups = [str(group) for group in batch.get("group", ()) if group]
        self.rows: list[Measures] = []
        self.curves: list[dict[str, Any]] = []

    def chance(self, stream: str) -> torch.Generator:
        """Return the source of chance of a purpose."""
        return chance(self.seed, *self.name.encode(), stream=f"/{stream}")

    def measure(self, source: str, shapes: Sequence[Tensor]) -> None:
        """Add a row of the measures of each heart (T, *S) to the table."""
        told = {name: float(values[0]) for name, values in self.covariates.items()}
        for sample, shape in enumerate(shapes):
            found = self.evaluation.evaluator.measures(shape, self.spacing_mm)
            self.rows.append({"case": self.name, "source": source, "sample": sample, **told, **found})
            if sample < CURVES_KEPT:
                volumes = curve_table_rows(shape, self.spacing_mm)
                self.curves += [{"source": source, "sample": sample, **row} for row in volumes]
