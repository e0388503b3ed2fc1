"""Rank methods as Learn2Reg does: significance per metric, scores in [0.1, 1], geometric means per task and overall.

The challenge's text and its code differ. As coded (the default): unpaired rank-sum tests and the number of methods that
are better. As described: paired one-sided signed-rank tests and the number of methods that are beaten. (Hering et
al., IEEE TMI 42(3), 2023, and the organisers' ranking code.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medreg.errors import DataError, require_choice
from medreg.studies.learn2reg.ranking_items import Factor, Items, build_items
from medreg.studies.learn2reg.ranking_rules import read_rules
from medreg.studies.learn2reg.ranking_scores import LOWEST, counts, geometric_mean, ladder, places
from medreg.studies.learn2reg.ranking_significance import better

Test: TypeAlias = Literal["ranksums", "signed_rank"]
Count: TypeAlias = Literal["losses", "wins"]
INITIAL_NAMES = ("initial", "unregistered", "zero", "zero_field", "zerodisplacement", "identity")


@dataclass(frozen=True)
class Scheme:
    """How scores come about.

    Attributes:
        test: see `ranking_significance.better`.
        count: see `ranking_scores.counts`.
        simple: no significance at all: methods sorted by their mean, as ConvexAdam chooses its settings.
    """

    test: Test
    count: Count
    simple: bool

    def sentence(self) -> str:
        """Say in words what was done."""
        if self.simple:
            return "Methods sorted by their mean in each metric, without significance."
        tests = {"ranksums": "unpaired rank-sum test", "signed_rank": "paired one-sided signed-rank test"}
        told = {"losses": "methods that are better", "wins": "methods that are beaten"}
        return f"Score by the number of {told[self.count]} ({tests[self.test]}, p < 0.05)."


@dataclass(frozen=True)
class FactorRanking:
    """Scores of all methods in one factor.

    Attributes:
        factor: its values.
        scores: (N,) in [0.1, 1].
        better: (N, N), whether the method of the row is significantly better than that of the column.
    """

    factor: Factor
    scores: NDArray[np.float64]
    better: NDArray[np.bool_]


@dataclass(frozen=True)
class TaskRanking:
    """Ranking of one task.

    Attributes:
        task: name.
        methods: in the order of the input.
        items: factors, rules, cases and notes.
        factors: one entry per factor of the rules; one that counts twice is there twice.
        scores: (N,) task rank scores.
        places: (N,) 1 is best.
    """

    task: str
    methods: tuple[str, ...]
    items: Items
    factors: tuple[FactorRanking, ...]
    scores: NDArray[np.float64]
    places: NDArray[np.int64]


@dataclass(frozen=True)
class Ranking:
    """Rankings of all tasks and the overall one.

    Attributes:
        tasks: by name.
        methods: of all tasks.
        scores: (N,) geometric mean over tasks; a task without the method counts as the lowest score.
        places: (N,) 1 is best.
        scheme: how it was made.
    """

    tasks: tuple[TaskRanking, ...]
    methods: tuple[str, ...]
    scores: NDArray[np.float64]
    places: NDArray[np.int64]
    scheme: Scheme

    def notes(self) -> tuple[str, ...]:
        """Everything that a reader of the table has to know."""
        return (self.scheme.sentence(), *dict.fromkeys(n for task in self.tasks for n in task.items.notes))


def rank(
    table: pd.DataFrame,
    *,
    test: Test = "ranksums",
    count: Count = "losses",
    simple: bool = False,
    runtime: bool = True,
    initial: str | None = None,
    rank_initial: bool = True,
    slips: bool = False,
    allow_missing: bool = False,
    rules: str | Path | None = None,
) -> Ranking:
    """Rank methods task by task and overall.

    Args:
        table: columns method, task, case, metric, item, value; `item` −1 is the mean of the case, other numbers are
            structures or points.
        test: "ranksums" (as coded by the organisers) or "signed_rank" (as they describe it).
        count: "losses" (as coded) or "wins" (as described).
        simple: sort by means instead of testing (model selection of ConvexAdam).
        runtime: whether runtimes count where the rules of the task have them.
        initial: method that is the unregistered state; None finds it by its name.
        rank_initial: whether it takes part; it fixes the hardest 30 % of the items in either case.
        slips: also do what the organisers' notebooks seem to do by mistake.
        allow_missing: methods without a metric get its lowest score instead of an error.
        rules: YAML file in place of `ranking_rules.yaml`.

    Raises:
        ConfigError: an unknown choice.
        DataError: nothing to rank, or methods that were not evaluated alike.
    """
    require_choice("test", test, get_args(Test))
    require_choice("count", count, get_args(Count))
    if table.empty:
        raise DataError("There is nothing to rank: no metric file was given, or they hold no case.")
    scheme = Scheme(test, count, simple)
    tasks = []
    for task in dict.fromkeys(str(name) for name in table["task"]):
        rows = table[table["task"] == task]
        methods = [str(name) for name in pd.unique(rows["method"])]
        start = initial if initial in methods else find_initial(methods)
        ranked = [name for name in methods if rank_initial or name != start]
        items = build_items(
            rows,
            ranked,
            read_rules(task, slips=slips, file=rules),
            initial=start,
            runtime=runtime,
            allow_missing=allow_missing,
        )
        tasks.append(rank_task(task, ranked, items, scheme))
    return combined(tasks, scheme)


def find_initial(methods: Sequence[str]) -> str | None:
    """Return the method whose name says that it does nothing, None if there is none."""
    return next((name for name in methods if name.lower().replace(" ", "_") in INITIAL_NAMES), None)


def rank_task(task: str, methods: Sequence[str], items: Items, scheme: Scheme) -> TaskRanking:
    """Rank the methods of one task."""
    known: dict[str, FactorRanking] = {}
    for factor in items.factors:
        if factor.name not in known:
            scores, wins = factor_scores(factor, scheme)
            known[factor.name] = FactorRanking(factor, scores[0], wins)
    factors = tuple(known[factor.name] for factor in items.factors)
    scores = geometric_mean([found.scores for found in factors], exponent=items.rules.exponent)
    return TaskRanking(task, tuple(methods), items, factors, scores, places(scores))


def factor_scores(
    factor: Factor, scheme: Scheme, *, weights: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return scores (B, N) of one factor and who is better than whom (N, N), the latter without weights only.

    Methods without the metric stand last, and their score is the lowest instead of the mean of the last ones.
    """
    number = len(factor.present)
    wins = np.zeros((number, number), dtype=bool)
    drawn = np.ones((1, factor.values.number), dtype=np.int64) if weights is None else weights
    if scheme.simple:
        keys: NDArray[np.float64] = np.nan_to_num(factor.values.means(drawn))
    else:
        found = better(factor.values, test=scheme.test, weights=drawn)
        keys = counts(found, count=scheme.count).astype(np.float64)
        wins[np.ix_(factor.present, factor.present)] = found[0]
    full = np.full((len(keys), number), keys.min(initial=0.0) - 1)
    full[:, factor.present] = keys
    scores = ladder(full)
    scores[:, ~factor.present] = LOWEST
    return scores, wins


def combined(tasks: Sequence[TaskRanking], scheme: Scheme) -> Ranking:
    """Return the overall ranking: the geometric mean over tasks."""
    methods = tuple(dict.fromkeys(name for task in tasks for name in task.methods))
    scores = geometric_mean([spread(task, task.scores, methods) for task in tasks])
    return Ranking(tuple(tasks), methods, scores, places(scores), scheme)


def spread(task: TaskRanking, scores: NDArray[np.float64], methods: Sequence[str]) -> NDArray[np.float64]:
    """Return task scores (..., N) for all methods; those that did not take part have the lowest."""
    out = np.full((*scores.shape[:-1], len(methods)), LOWEST)
    out[..., [methods.index(name) for name in task.methods]] = scores
    return out
