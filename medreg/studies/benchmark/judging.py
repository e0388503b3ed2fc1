"""Every field judged by one evaluation, and the judgements as one table of results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from medreg.errors import MedregError
from medreg.studies.benchmark.plan import Benchmark, Entry
from medreg.studies.learn2reg.bootstrap import Stability, bootstrap
from medreg.studies.learn2reg.evaluate import Evaluation, evaluate
from medreg.studies.learn2reg.ranking import Ranking, rank
from medreg.studies.learn2reg.ranking_inputs import collect

if TYPE_CHECKING:
    from rich.console import Console

ENOUGH = 0.8  # of the cases that others have: with fewer a method would take cases from everyone's ranking
DRAWS = 1000  # of cases, for the stability of the ranking
COLUMNS = ("data", "split", "method", "case", "structure", "metric", "unit", "value")
COSTS = {
    "seconds": ("time_s", "s"),
    "cpu_seconds": ("cpu_s", "s"),
    "peak_memory_mib": ("peak_memory_mib", "MiB"),
}


@dataclass(frozen=True)
class Judged:
    """What the evaluation of all methods found.

    Attributes:
        entries: methods with at least one scored case, in order.
        results: rows of `COLUMNS`, every scored case of every method.
        ranking: over the cases that all methods have, None where there is none.
        stability: of the ranking under draws of cases.
        problems: method → case → why it is not in the tables.
        notes: what a reader has to know.
    """

    entries: tuple[Entry, ...]
    results: pd.DataFrame
    ranking: Ranking | None
    stability: Mapping[str, Stability]
    problems: Mapping[str, Mapping[str, str]]
    notes: tuple[str, ...]

    def missing(self) -> pd.DataFrame:
        """Return the problems as columns method, case, reason."""
        rows = [(name, *one) for name, reasons in self.problems.items() for one in reasons.items()]
        return pd.DataFrame(rows, columns=["method", "case", "reason"])


def evaluate_all(
    benchmark: Benchmark, entries: Sequence[Entry], *, workers: int, runtime: bool, console: Console
) -> Judged:
    """Score the fields of all methods; results of an earlier run are taken where nothing changed.

    Args:
        benchmark: data and what to evaluate.
        entries: methods whose fields are there.
        workers: cases evaluated at a time.
        runtime: whether wall time counts in the ranking.
        console: told about methods without any field.

    Raises:
        DatasetNotFound: label maps or points that the metrics need are missing.
    """
    scored: list[Entry] = []
    rows: list[tuple[Any, ...]] = []
    problems: dict[str, dict[str, str]] = {}
    for entry in entries:
        problems[entry.name] = dict(entry.failures)
        if len(problems[entry.name]) == len(benchmark.config.pairs) or not entry.folder.fields.is_dir():
            console.print(f"{entry.name}: no field to evaluate", highlight=False)
            continue
        found = evaluate(
            entry.folder.fields,
            benchmark.task,
            benchmark.config,
            workers=workers,
            output=entry.folder.metrics,
            method=entry.name,
        )
        problems[entry.name] |= {k: v for k, v in found.failures.items() if k not in problems[entry.name]}
        if found.metrics.cases:
            scored.append(entry)
            rows += _rows(entry, found)
    results = pd.DataFrame(rows, columns=list(COLUMNS))
    ranking, stability, notes = _ranked(scored, results, runtime=runtime)
    problems = {name: reasons for name, reasons in problems.items() if reasons}
    return Judged(tuple(scored), results, ranking, stability, problems, notes)


def _rows(entry: Entry, found: Evaluation) -> Iterator[tuple[Any, ...]]:
    """Corrected values of a method, its landmark errors, and what its cases cost."""
    start = (found.config.name, "benchmark", entry.name)
    for case, row in found.metric_rows():
        if row.structure != "mean":
            yield (*start, case, row.structure, row.metric, row.unit, row.value)
    for case, cost in entry.costs.items():
        if case in found.metrics.cases:
            for key, (metric, unit) in COSTS.items():
                yield (*start, case, "all", metric, unit, cost[key])


def _ranked(
    entries: Sequence[Entry], results: pd.DataFrame, *, runtime: bool
) -> tuple[Ranking | None, Mapping[str, Stability], tuple[str, ...]]:
    """Rank as the challenge does, over the cases that all methods have; who failed on many is left out."""
    counts = results.groupby("method")["case"].nunique()
    kept = [entry for entry in entries if counts[entry.name] >= ENOUGH * counts.max()]
    notes = [
        f"{entry.name} is not ranked: it has {counts[entry.name]} of {counts.max()} cases."
        for entry in entries
        if entry not in kept
    ]
    if len(kept) < 2:
        return None, {}, (*notes, "A ranking needs two methods.")
    try:
        collected = collect([f"{entry.name}={entry.folder.metrics}" for entry in kept], common=True)
        ranking = rank(collected.table, runtime=runtime)
    except MedregError as error:
        return None, {}, (*notes, f"There is no ranking: {error}")
    return ranking, bootstrap(ranking, draws=DRAWS), (*notes, *collected.notes)
