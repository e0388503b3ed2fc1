"""Accuracy against smoothness: one conditional model at many λ, beside models that were trained for one λ each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from medreg.models.chosen_weight import ChosenWeight, require_conditional
from medreg.runs.trained import TrainedRun
from medreg.studies.smoothness.cost import weight_of
from medreg.studies.smoothness.run_cases import Cases
from medreg.studies.smoothness.scores import METRICS, CaseScore, mean_of, registering, score

if TYPE_CHECKING:
    import pandas as pd

CONDITIONAL, RETRAINED = "one conditional model", "trained for one λ"


def weight_curve(
    run: TrainedRun, weights: Sequence[float], retrained: Sequence[TrainedRun], cases: Cases
) -> pd.DataFrame:
    """Return one row a model and λ: kind, run, weight, cases, and the mean of every metric over cases.

    Args:
        run: of a conditional model.
        weights: λ, the same everywhere.
        retrained: runs trained for one λ each; their λ is given in that of the first run (`weight_of`).
        cases: what all of them register.

    Raises:
        CompositionError: the first run's model takes no λ.
        ConfigError: one of the others was not trained for one λ.
    """
    import pandas as pd

    require_conditional(run.model)
    rows = [_row(CONDITIONAL, run, weight, cases, ChosenWeight(weight)) for weight in weights]
    rows += [_row(RETRAINED, other, weight_of(other, run), cases, None) for other in retrained]
    return pd.DataFrame(rows)


def _row(
    kind: str, run: TrainedRun, weight: float, cases: Cases, chosen: ChosenWeight | None
) -> dict[str, object]:
    scores = score(registering(run, chosen), cases.batches, cases.labels)
    return {"kind": kind, "run": run.folder.name, "weight": weight, "cases": len(scores), **means(scores)}


def means(scores: Sequence[CaseScore]) -> dict[str, float]:
    """Mean of every metric over cases."""
    return {metric: mean_of(scores, metric) for metric in METRICS}


def save_table(table: pd.DataFrame, path: Path) -> Path:
    """Write a table as CSV, seven digits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False, float_format="%.7g")
    return path
