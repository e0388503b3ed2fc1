"""Accuracy against smoothness: one conditional model at many λ, beside models that were trained for one λ each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from medreg.models.chosen_smoothness import ChosenSmoothness, require_conditional
from medreg.runs.trained import TrainedRun
from medreg.studies.smoothness.cost import smoothness_of
from medreg.studies.smoothness.run_cases import Cases
from medreg.studies.smoothness.scores import Scores, means

if TYPE_CHECKING:
    import pandas as pd

CONDITIONAL, RETRAINED = "one conditional model", "trained for one λ"


def smoothness_curve(
    run: TrainedRun, weights: Sequence[float], retrained: Sequence[TrainedRun], cases: Cases, scores: Scores
) -> pd.DataFrame:
    """Return one row a model and λ: kind, run, smoothness, cases, and the mean of every metric over cases.

    Args:
        run: of a conditional model.
        weights: λ, the same everywhere.
        retrained: runs trained for one λ each; their λ is given in that of the first run (`smoothness_of`).
        cases: what all of them register.
        scores: where what is measured is kept.

    Raises:
        CompositionError: the first run's model takes no λ.
        ConfigError: one of the others was not trained for one λ.
    """
    import pandas as pd

    require_conditional(run.model)
    shown: list[tuple[str, TrainedRun, float, ChosenSmoothness | None]]
    shown = [(CONDITIONAL, run, smoothness, ChosenSmoothness(smoothness)) for smoothness in weights]
    shown += [(RETRAINED, other, smoothness_of(other, run), None) for other in retrained]
    rows = []
    for kind, one, smoothness, chosen in shown:
        found = scores.of(one, chosen, cases)
        rows.append(
            {"kind": kind, "run": one.name, "smoothness": smoothness, "cases": len(found), **means(found)}
        )
    return pd.DataFrame(rows)
