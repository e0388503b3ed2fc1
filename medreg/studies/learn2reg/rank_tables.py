"""Tables of a ranking: places, scores, intervals, and always the means beside them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from medreg.reporting.cells import number
from medreg.reporting.tables import Cell, Table
from medreg.reporting.vocabulary import Better, titled
from medreg.studies.learn2reg.bootstrap import Stability
from medreg.studies.learn2reg.ranking import Ranking, TaskRanking
from medreg.studies.learn2reg.ranking_rules import base_of, kind_of

DECIMALS = {"dice": 3, "hd95": 2, "tre": 2, "sdlogj": 3, "ndv": 3, "runtime": 2}
LABELS = {"LogJacDetStd": "SDlogJ", "TRE_lm": "TRE", "TRE_lm30": "TRE30"}
UNITS = {"hd95": "vox", "tre": "mm", "ndv": "%", "runtime": "s"}


def ranking_table(ranking: Ranking, *, stability: Mapping[str, Stability]) -> pd.DataFrame:
    """Return a ranking as a tidy table: one row a task, method and factor, and one for the score.

    Returns:
        Columns task, method, place, factor, times (how often it counts), mean, score, losses (methods significantly
        better), wins, low and high (95 % interval of the score, where cases were drawn again). The row of the task
        rank score has the factor "score"; the overall ranking has the task "overall".
    """
    rows = [row for task in ranking.tasks for row in _task_rows(task, stability.get(task.task))]
    if len(ranking.tasks) > 1:
        found = stability.get("overall")
        for k in np.argsort(ranking.places, kind="stable"):
            row = {"task": "overall", "method": ranking.methods[k], "place": int(ranking.places[k])}
            rows.append(row | {"factor": "score", "score": ranking.scores[k]} | _interval(found, int(k)))
    columns = [
        *("task", "method", "place", "factor", "times", "mean", "score"),
        *("losses", "wins", "low", "high"),
    ]
    return pd.DataFrame(rows, columns=columns)


def _task_rows(task: TaskRanking, stability: Stability | None) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    names = [found.factor.name for found in task.factors]
    unique = {found.factor.name: found for found in task.factors}
    for k in np.argsort(task.places, kind="stable"):
        start: dict[str, object] = {
            "task": task.task,
            "method": task.methods[k],
            "place": int(task.places[k]),
        }
        rows.append(start | {"factor": "score", "score": task.scores[k]} | _interval(stability, int(k)))
        for name, found in unique.items():
            numbers = {"losses": int(found.better[:, k].sum()), "wins": int(found.better[k].sum())}
            values = {"times": names.count(name), "mean": found.factor.means[k], "score": found.scores[k]}
            rows.append(start | {"factor": name} | values | numbers)
    return rows


def _interval(stability: Stability | None, k: int) -> dict[str, object]:
    return {} if stability is None else {"low": stability.low[k], "high": stability.high[k]}


def task_table(
    task: TaskRanking, *, stability: Stability | None = None, published: pd.DataFrame | None = None
) -> Table:
    """Return the printed ranking of a task: score, and the mean of each factor with its rank score in small.

    Args:
        task: the ranking.
        stability: adds the 95 % intervals of score and place.
        published: means of published methods (index method, columns metric), shown below without a score of ours.
    """
    unique = {found.factor.name: found for found in task.factors}
    header = ["method", "#", "score"]
    header += [heading(name, found.factor.metric) for name, found in unique.items()]
    rows = []
    for k in np.argsort(task.places, kind="stable"):
        cells = _leading(task.methods[k], int(task.places[k]), float(task.scores[k]), stability, int(k))
        for found in unique.values():
            mean = _number(found.factor.means[k], found.factor.metric)
            top = bool(found.scores[k] == found.scores.max())
            cells.append(Cell(mean, f"{found.scores[k]:.3f}", bold=top))
        rows.append(tuple(cells))
    rows += _published_rows(published, list(unique))
    return Table(task.task, tuple(header), tuple(rows), _notes(task, stability, published))


def overall_table(ranking: Ranking, *, stability: Stability | None = None) -> Table:
    """Return the overall ranking: one column a task."""
    header = ["method", "#", "score", *(task.task for task in ranking.tasks)]
    rows = []
    for k in np.argsort(ranking.places, kind="stable"):
        name = ranking.methods[k]
        cells = _leading(name, int(ranking.places[k]), float(ranking.scores[k]), stability, int(k))
        for task in ranking.tasks:
            there = name in task.methods
            cells.append(Cell(f"{task.scores[task.methods.index(name)]:.3f}" if there else "– (0.100)"))
        rows.append(tuple(cells))
    note = "Geometric mean over tasks; a task without the method counts 0.1."
    return Table("overall", tuple(header), tuple(rows), (note,))


def _leading(name: str, place: int, score: float, stability: Stability | None, k: int) -> list[Cell]:
    """Name, place and score, with their intervals in small."""
    places = scores = ""
    if stability is not None:
        places = f"{stability.place_low[k]:.0f}–{stability.place_high[k]:.0f}"
        scores = f"{stability.low[k]:.2f}–{stability.high[k]:.2f}"
    return [Cell(name), Cell(str(place), places), Cell(f"{score:.3f}", scores, bold=place == 1)]


def heading(factor: str, metric: str) -> str:
    """Return the printed name of a factor with unit and the better direction."""
    kind = kind_of(metric)
    better: Better = "higher" if kind == "dice" else "lower"
    unit = "mm" if metric.endswith("_mm") else UNITS.get(kind, "")
    label = LABELS.get(factor, factor)
    return titled(label, unit, better)


def _number(value: float, metric: str) -> str:
    return number(value, DECIMALS.get(kind_of(metric), 3))


def _published_rows(published: pd.DataFrame | None, factors: list[str]) -> list[tuple[Cell, ...]]:
    rows = []
    for name, means in published.iterrows() if published is not None else ():
        scores = means[[column for column in means.index if str(column).startswith("score")]].dropna()
        score = f"({scores.iloc[0]:.3f})" if len(scores) else ""
        cells = [Cell(str(name)), Cell(""), Cell(score)]
        for factor in factors:
            value = means.get(factor, np.nan)
            cells.append(Cell(_number(float(value), base_of(factor))))
        rows.append(tuple(cells))
    return rows


def _notes(task: TaskRanking, stability: Stability | None, published: pd.DataFrame | None) -> tuple[str, ...]:
    names = [found.factor.name for found in task.factors]
    twice = [
        f"{name} counts {names.count(name)} times" for name in dict.fromkeys(names) if names.count(name) > 1
    ]
    notes = [f"{len(task.items.cases)} cases. Rules: {task.items.rules.source}."]
    notes += [f"{', '.join(twice)}."] if twice else []
    notes.append("Means, with the rank score of each metric below; ranks ignore the size of differences.")
    if any(np.isnan(found.factor.means).any() for found in task.factors):
        notes.append("A dash: there is no value, or the constant of the rules stands for it.")
    if stability is not None:
        notes.append(
            f"Below place and score: 95 % intervals of {stability.draws} draws of cases, each ranked anew."
        )
    if published is not None:
        notes.append(
            "Published rows are of other cases or of a table with other methods; their scores, in parentheses, are "
            "comparable within that table only."
        )
    return (*notes, *task.items.notes)
