"""Accuracy and smoothness of a model's answers at one λ, case by case."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medreg.metrics.evaluator import CaseEvaluator
from medreg.metrics.gradient_energy import gradient_energy, mean_within
from medreg.models.chosen_weight import ChosenWeight
from medreg.runs.trained import TrainedRun
from medreg.studies.smoothness.problem import Batch

Register = Callable[[Batch], Tensor]  # one case → displacement (N, D, *S)
METRICS = ("dice", "sd_log_jacobian", "folding_percent", "gradient_energy")


@dataclass(frozen=True)
class CaseScore:
    """Metrics of one case: `METRICS`, NaN where the case has no labels."""

    case: str
    values: Mapping[str, float]


def registering(run: TrainedRun, chosen: ChosenWeight | None = None) -> Register:
    """Return a function that registers a case with a run at a λ; at that of the run for None.

    Raises:
        CompositionError: when called, for a λ that does not fit the model.
    """
    return lambda batch: run.displacement(batch, smoothness=chosen)


def score(register: Register, batches: Sequence[Batch], labels: Mapping[str, int]) -> list[CaseScore]:
    """Register cases and measure the answers; Dice is the mean over structures of warped label maps.

    Args:
        register: see `registering`.
        batches: one case each.
        labels: structure → code.
    """
    evaluate = CaseEvaluator(labels, surface=False)
    found = []
    for batch in batches:
        field = register(batch)
        rows = {row.metric: row.value for row in evaluate(batch, field) if row.structure in ("mean", "all")}
        rows["gradient_energy"] = float(mean_within(gradient_energy(field), None).mean())
        values = {metric: rows.get(metric, float("nan")) for metric in METRICS}
        found.append(CaseScore(batch["case"][0], values))
    return found


def mean_of(scores: Sequence[CaseScore], metric: str) -> float:
    """Mean over cases, those without a value left out."""
    values = torch.tensor([one.values[metric] for one in scores], dtype=torch.float64)
    return float(values.nanmean())
