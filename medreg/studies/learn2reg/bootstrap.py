"""How stable a ranking is: cases are drawn again with replacement and everything is ranked anew.

The tests among items of one case are not independent, so whole cases are drawn. All factors of a draw see the same
cases; the hardest items stay those of all cases. Tasks are drawn independently of one another.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medreg.studies.learn2reg.ranking import Ranking, TaskRanking, factor_scores, spread
from medreg.studies.learn2reg.ranking_scores import geometric_mean, places

INTERVAL = (2.5, 97.5)  # percent: a 95 % interval


@dataclass(frozen=True)
class Stability:
    """What draws of cases make of one ranking.

    Attributes:
        name: of the task, or "overall".
        methods: in the order of the ranking.
        rank_share: (N, N), share of the draws in which the method of the row has the place of the column + 1; equal
            scores share the first of their places.
        low: (N,) lower end of the 95 % interval of the score.
        high: (N,) upper end.
        place_low: (N,) lower end of the 95 % interval of the place.
        place_high: (N,) upper end.
        draws: number of draws.
    """

    name: str
    methods: tuple[str, ...]
    rank_share: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    place_low: NDArray[np.float64]
    place_high: NDArray[np.float64]
    draws: int


def bootstrap(ranking: Ranking, *, draws: int, seed: int = 0) -> dict[str, Stability]:
    """Rank again for many draws of cases.

    Args:
        ranking: made by `rank`.
        draws: number of draws.
        seed: of the draws; the same seed gives the same answer.

    Returns:
        One entry a task, and "overall" where there are several tasks.
    """
    generator = np.random.default_rng(seed)
    found, all_scores = {}, []
    for task in ranking.tasks:
        scores = _scores(task, ranking, _weights(task, draws, generator))
        found[task.task] = _stability(task.task, task.methods, scores)
        all_scores.append(spread(task, scores, ranking.methods))
    if len(ranking.tasks) > 1:
        found["overall"] = _stability("overall", ranking.methods, geometric_mean(all_scores))
    return found


def _weights(task: TaskRanking, draws: int, generator: np.random.Generator) -> NDArray[np.int64]:
    number = len(task.items.cases)
    return generator.multinomial(number, np.full(number, 1 / number), size=draws)


def _scores(task: TaskRanking, ranking: Ranking, weights: NDArray[np.int64]) -> NDArray[np.float64]:
    known = {}
    for factor in task.items.factors:
        if factor.name not in known:
            known[factor.name] = factor_scores(factor, ranking.scheme, weights=weights)[0]
    return geometric_mean(
        [known[factor.name] for factor in task.items.factors], exponent=task.items.rules.exponent
    )


def _stability(name: str, methods: tuple[str, ...], scores: NDArray[np.float64]) -> Stability:
    found = places(scores)
    number = len(methods)
    share = np.stack([(found == place).mean(axis=0) for place in range(1, number + 1)], axis=1)
    low, high = np.percentile(scores, INTERVAL, axis=0)
    first, last = np.percentile(found, INTERVAL, axis=0, method="nearest")
    return Stability(name, methods, share, low, high, first, last, len(scores))
