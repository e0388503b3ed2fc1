"""What a found λ is worth on other cases, beside uniform λ and beside the same λ in the wrong regions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from medreg.models.chosen_smoothness import ChosenSmoothness, require_conditional
from medreg.runs.trained import TrainedRun
from medreg.studies.smoothness.methods import grid
from medreg.studies.smoothness.result import SearchResult
from medreg.studies.smoothness.run_cases import Cases
from medreg.studies.smoothness.scores import Scores, mean_of, means

if TYPE_CHECKING:
    import pandas as pd


def evaluate_found(
    run: TrainedRun,
    result: SearchResult,
    searched: Cases,
    cases: Cases,
    scores: Scores,
    *,
    step: float,
    shuffles: int,
    seed: int,
) -> pd.DataFrame:
    """Return one row a choice of λ with its means over cases.

    "uniform" is the λ of a grid with the best Dice over the cases of the search; "shuffled" gives the λ found to
    the wrong regions, as a control (ours).

    Args:
        run: of the conditional model.
        result: of the search.
        searched: cases of the search, which choose the uniform λ.
        cases: other cases, on which everything is measured.
        scores: where what is measured is kept.
        step: of the grid of uniform λ.
        shuffles: number of permutations; 0 for none, and none without regions.
        seed: of the permutations.
    """
    import pandas as pd

    model = require_conditional(run.model)
    values = grid(model.smoothness_range, step)
    on_search = [mean_of(scores.of(run, ChosenSmoothness(value), searched), "dice") for value in values]
    uniform = values[int(np.nanargmax(on_search))]
    count = len(result.weights)
    settings = [
        ("model's own", [model.smoothness] * count),
        ("uniform, best of the search cases", [uniform] * count),
        ("found", result.weights),
        *((f"shuffled {number}", w) for number, w in enumerate(_shuffled(result, shuffles, seed), 1)),
    ]
    rows = []
    for name, weights in settings:
        found = scores.of(run, result.choice(weights), cases)
        words = " ".join(f"{value:.3f}" for value in weights)
        rows.append(
            {"choice": name, "smoothness": words, "split": cases.split, "cases": len(found), **means(found)}
        )
    return pd.DataFrame(rows)


def _shuffled(result: SearchResult, count: int, seed: int) -> Iterator[Sequence[float]]:
    """Different permutations of the λ of the regions, none of them the one found."""
    if result.regions is None:
        return
    generator, seen = np.random.default_rng(seed), {tuple(result.weights)}
    for _ in range(100 * count):
        if len(seen) > count:
            return
        order = tuple(float(value) for value in generator.permutation(result.weights))
        if order not in seen:
            seen.add(order)
            yield order
