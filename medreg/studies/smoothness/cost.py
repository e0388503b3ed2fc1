"""A search on one conditional model beside a grid search with models retrained for every λ: CPU time and result."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from medreg.errors import ConfigError
from medreg.models.chosen_smoothness import read_choice
from medreg.runs.trained import TrainedRun
from medreg.studies.smoothness.result import SearchResult
from medreg.studies.smoothness.run_cases import Cases, trained_smoothness, training_cpu_seconds
from medreg.studies.smoothness.scores import CaseScore, Scores, mean_of
from medreg.study.store import Store
from medreg.study.unit import Outcome
from medreg.study.view import write_csv


@dataclass(frozen=True)
class CostRow:
    """One way to choose λ.

    Attributes:
        way: in words.
        models: networks that were trained.
        training_cpu_s: CPU time of their training, from their run.json; NaN where one does not say.
        evaluations: passes of one case through a network to choose λ.
        search_cpu_s: CPU time of these.
        total_cpu_s: sum.
        chosen: λ.
        dice: mean Dice over the cases of the search at that λ.
        sd_log_jacobian: mean over the same cases.
    """

    way: str
    models: int
    training_cpu_s: float
    evaluations: int
    search_cpu_s: float
    total_cpu_s: float
    chosen: str
    dice: float
    sd_log_jacobian: float


def compare_cost(
    run: TrainedRun,
    result: SearchResult,
    file: Path,
    retrained: Sequence[TrainedRun],
    cases: Cases,
    scores: Scores,
) -> list[CostRow]:
    """Return the rows of the search and of the grid of retrained models.

    Args:
        run: of the conditional model.
        result: of its search.
        file: where that result was written.
        retrained: runs that were each trained for one λ.
        cases: those that the search used; the retrained model with the best Dice on them is chosen.
        scores: where what is measured is kept.

    Raises:
        ConfigError: a run that was not trained for one λ.
    """
    rows = [_searched(run, result, file, scores.of(run, read_choice(file), cases))]
    if retrained:
        rows.append(_retrained(run, {other: scores.of(other, None, cases) for other in retrained}))
    return rows


def _searched(run: TrainedRun, result: SearchResult, file: Path, scores: Sequence[CaseScore]) -> CostRow:
    training = training_cpu_seconds(run)
    return CostRow(
        way=f"one conditional model, {file.stem}",
        models=1,
        training_cpu_s=training,
        evaluations=result.effort.evaluations,
        search_cpu_s=result.effort.cpu_seconds,
        total_cpu_s=training + result.effort.cpu_seconds,
        chosen=" ".join(f"{value:.3f}" for value in result.weights),
        dice=mean_of(scores, "dice"),
        sd_log_jacobian=mean_of(scores, "sd_log_jacobian"),
    )


def _retrained(reference: TrainedRun, found: Mapping[TrainedRun, Sequence[CaseScore]]) -> CostRow:
    weights = {run: smoothness_of(run, reference) for run in found}
    best = max(found, key=lambda run: mean_of(found[run], "dice"))
    spent = math.fsum(one.cpu_seconds for scores in found.values() for one in scores)
    training = math.fsum(map(training_cpu_seconds, found))
    return CostRow(
        way=f"grid search over {len(found)} retrained models",
        models=len(found),
        training_cpu_s=training,
        evaluations=sum(map(len, found.values())),
        search_cpu_s=spent,
        total_cpu_s=training + spent,
        chosen=f"{weights[best]:.3f}",
        dice=mean_of(found[best], "dice"),
        sd_log_jacobian=mean_of(found[best], "sd_log_jacobian"),
    )


def smoothness_of(run: TrainedRun, reference: TrainedRun) -> float:
    """Return the λ of a model trained for one, in the λ of a conditional model: s·λ^p is the same weight.

    Args:
        run: trained for one λ.
        reference: of the conditional model. Where the two losses are of different kinds λ is returned as it is.

    Raises:
        ConfigError: the run was trained for a range of λ, or does not say.
    """
    trained = trained_smoothness(run)
    if trained is None:
        raise ConfigError(
            f"--against {run.folder}: this run was not trained for one λ (task.draws.low = task.draws.high); leave "
            "it out."
        )
    theirs, ours = (_objective(one) for one in (run, reference))
    if not theirs or theirs.get("_target_") != ours.get("_target_"):
        return trained
    weight = float(theirs["scale"]) * trained ** float(theirs["power"])
    return float((weight / float(ours["scale"])) ** (1 / float(ours["power"])))


def _objective(run: TrainedRun) -> Mapping[str, Any]:
    return run.task.get("objective") or {}


def write_cost(rows: Sequence[CostRow], folder: Path) -> Path:
    """Write `cost.csv` into a folder: these rows, and those of other ways that were found before."""
    store = Store(folder / "cost.jsonl")
    for row in rows:
        store.add(Outcome({"way": row.way}, "", (asdict(row),)))
    return write_csv(store.frame(), folder / "cost.csv", digits=6)
