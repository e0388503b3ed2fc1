"""A search on one conditional model beside a grid search with models retrained for every λ: CPU time and result."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from medreg.errors import ConfigError
from medreg.models.chosen_weight import read_choice
from medreg.runs.trained import TrainedRun
from medreg.studies.smoothness.result import SearchResult
from medreg.studies.smoothness.run_cases import Cases, trained_weight, training_cpu_seconds
from medreg.studies.smoothness.scores import mean_of, registering, score


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
    run: TrainedRun, result: SearchResult, file: Path, retrained: Sequence[TrainedRun], cases: Cases
) -> list[CostRow]:
    """Return the rows of the search and of the grid of retrained models.

    Args:
        run: of the conditional model.
        result: of its search.
        file: where that result was written.
        retrained: runs that were each trained for one λ.
        cases: those that the search used; the retrained model with the best Dice on them is chosen.

    Raises:
        ConfigError: a run that was not trained for one λ.
    """
    rows = [_searched(run, result, file, cases)]
    if retrained:
        rows.append(_retrained(run, retrained, cases))
    return rows


def _searched(run: TrainedRun, result: SearchResult, file: Path, cases: Cases) -> CostRow:
    scores = score(registering(run, read_choice(file)), cases.batches, cases.labels)
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


def _retrained(reference: TrainedRun, runs: Sequence[TrainedRun], cases: Cases) -> CostRow:
    weights, scores = [], []
    started = time.process_time()
    for run in runs:
        weights.append(weight_of(run, reference))
        scores.append(score(registering(run), cases.batches, cases.labels))
    spent = time.process_time() - started
    best = max(range(len(runs)), key=lambda number: mean_of(scores[number], "dice"))
    training = math.fsum(training_cpu_seconds(run) for run in runs)
    return CostRow(
        way=f"grid search over {len(runs)} retrained models",
        models=len(runs),
        training_cpu_s=training,
        evaluations=len(runs) * len(cases.batches),
        search_cpu_s=spent,
        total_cpu_s=training + spent,
        chosen=f"{weights[best]:.3f}",
        dice=mean_of(scores[best], "dice"),
        sd_log_jacobian=mean_of(scores[best], "sd_log_jacobian"),
    )


def weight_of(run: TrainedRun, reference: TrainedRun) -> float:
    """Return the λ of a model trained for one, in the λ of a conditional model: s·λ^p is the same weight.

    Args:
        run: trained for one λ.
        reference: of the conditional model. Where the two losses are of different kinds λ is returned as it is.

    Raises:
        ConfigError: the run was trained for a range of λ, or does not say.
    """
    trained = trained_weight(run)
    if trained is None:
        raise ConfigError(
            f"--against {run.folder}: this run was not trained for one λ (task.weights.low = task.weights.high); leave "
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
    """Write `cost.csv` into a folder, and keep the rows of other ways that it holds already."""
    import pandas as pd

    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "cost.csv"
    table = pd.DataFrame([asdict(row) for row in rows], columns=[entry.name for entry in fields(CostRow)])
    if file.is_file():
        earlier = pd.read_csv(file)
        table = pd.concat([earlier[~earlier["way"].isin(table["way"])], table])
    table.to_csv(file, index=False, float_format="%.6g")
    return file
