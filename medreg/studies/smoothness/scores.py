"""Accuracy and smoothness of a model's answers at one λ, case by case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from medreg.errors import MedregError
from medreg.io.digest import digest_of
from medreg.metrics.evaluator import CaseEvaluator
from medreg.metrics.gradient_energy import gradient_energy, mean_within
from medreg.models.chosen_smoothness import ChosenSmoothness
from medreg.runs.trained import TrainedRun
from medreg.studies.smoothness.run_cases import Cases
from medreg.study.job import Tell, run_units
from medreg.study.store import Store
from medreg.study.unit import Row, Unit

METRICS = ("dice", "sd_log_jacobian", "folding_percent", "gradient_energy")
STORE = "scores.jsonl"


@dataclass(frozen=True)
class CaseScore:
    """Metrics of one case: `METRICS`, NaN where the case has no labels; and the CPU time of field and metrics."""

    case: str
    values: Mapping[str, float]
    cpu_seconds: float


@dataclass(frozen=True)
class Scores:
    """Scores of runs at one λ and another, kept: what was measured once is read.

    Attributes:
        folder: of the store.
        tell: told after every case.
    """

    folder: Path
    tell: Tell | None = None

    def of(self, run: TrainedRun, chosen: ChosenSmoothness | None, cases: Cases) -> list[CaseScore]:
        """Register cases with a run at a λ, at its own for None, and measure the answers.

        Dice is the mean over structures of warped label maps.

        Raises:
            CompositionError: a λ that does not fit the model.
        """
        choice = None if chosen is None else [chosen.smoothness, sorted(chosen.labels.items())]
        batches = {str(batch["case"][0]): batch for batch in cases.batches}
        units = [
            Unit(
                {"run": run.name, "choice": choice, "case": name},
                digest_of(run.key, digest, dict(cases.labels)),
            )
            for name, digest in cases.digests.items()
        ]
        evaluate = CaseEvaluator(cases.labels, surface=False)

        def work(unit: Unit) -> list[Row]:
            batch = batches[unit.key["case"]]
            field = run.displacement(batch, smoothness=chosen)
            found = evaluate(batch, field)
            rows = {row.metric: row.value for row in found if row.structure in ("mean", "all")}
            rows["gradient_energy"] = float(mean_within(gradient_energy(field), None).mean())
            return [{metric: rows.get(metric, float("nan")) for metric in METRICS}]

        store = Store(self.folder / STORE)
        outcomes = run_units(units, work, store, tell=self.tell, stops=(MedregError,))
        return [CaseScore(one.key["case"], one.rows[0], one.cost["cpu_seconds"]) for one in outcomes]


def mean_of(scores: Sequence[CaseScore], metric: str) -> float:
    """Mean over cases, those without a value left out."""
    values = torch.tensor([one.values[metric] for one in scores], dtype=torch.float64)
    return float(values.nanmean())


def means(scores: Sequence[CaseScore]) -> dict[str, float]:
    """Mean of every metric over cases."""
    return {metric: mean_of(scores, metric) for metric in METRICS}
