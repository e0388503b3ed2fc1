"""What a search leaves in the run folder: the λ found, how it was found, every λ that was tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from medreg.io.atomic import write_text
from medreg.models.chosen_smoothness import ChosenSmoothness
from medreg.models.conditional import Regions
from medreg.studies.smoothness.methods import Trace, TracePoint
from medreg.studies.smoothness.problem import Effort
from medreg.study.unit import Outcome
from medreg.study.view import write_csv

FOLDER = "smoothness"  # of a run folder, where searches and figures are kept


@dataclass(frozen=True)
class GroupResult:
    """The search of one group of cases.

    Attributes:
        cases: their names.
        trace: λ that were tried.
        effort: what it cost.
        error: why it ended early; the best λ so far counts.
    """

    cases: tuple[str, ...]
    trace: Trace
    effort: Effort
    error: str | None = None

    @classmethod
    def of(cls, outcome: Outcome) -> GroupResult:
        """Return the group of a unit of the search."""
        points = [
            TracePoint(**{**row, "weights": tuple(row["weights"])}) for row in outcome.rows if "step" in row
        ]
        left_out = {row["left_out"] for row in outcome.rows if "left_out" in row}
        cases = tuple(case for case in outcome.key["cases"] if case not in left_out)
        return cls(cases, Trace(points), Effort(**outcome.cost), outcome.error or None)


@dataclass(frozen=True)
class SearchResult:
    """The outcome of a search.

    Attributes:
        settings: method, objective, scope, split and run as plain values.
        regions: regions of λ; None for one λ.
        groups: groups with at least one λ that was measured.
        failed: case → why it was left out.
    """

    settings: Mapping[str, Any]
    regions: Regions | None
    groups: Sequence[GroupResult]
    failed: Mapping[str, str]

    @property
    def weights(self) -> list[float]:
        """λ of region 0, 1, …: mean over cases of the best λ of their groups."""
        counts = [len(group.cases) for group in self.groups]
        best = [group.trace.best.weights for group in self.groups]
        return [
            sum(count * value for count, value in zip(counts, column, strict=True)) / sum(counts)
            for column in zip(*best, strict=True)
        ]

    def mean(self, which: str) -> float:
        """Mean over cases of the objective at the "first" or the "best" λ of their groups."""
        total = sum(len(group.cases) * getattr(group.trace, which).objective for group in self.groups)
        return float(total / sum(len(group.cases) for group in self.groups))

    @property
    def effort(self) -> Effort:
        """Sum over groups."""
        total = Effort()
        for group in self.groups:
            total.add(group.effort)
        return total

    def choice(self, weights: Sequence[float]) -> ChosenSmoothness:
        """Return λ of region 0, 1, … as λ by label; other labels take that of the background."""
        rest = _short(weights[0])
        if self.regions is None:
            return ChosenSmoothness(rest)
        labels = {0: rest}
        for value, group in zip(weights[1:], self.regions.groups, strict=True):
            labels |= dict.fromkeys(group, _short(value))
        return ChosenSmoothness(rest, labels)

    def content(self) -> dict[str, Any]:
        """Return what the YAML file holds; `smoothness` and `labels` are what `--smoothness-file` reads."""
        chosen = self.choice(self.weights)
        labels = dict(chosen.labels)
        effort = self.effort
        return {
            "smoothness": chosen.smoothness,
            **({"labels": labels} if labels else {}),
            "objective": {"before": _short(self.mean("first")), "after": _short(self.mean("best"))},
            "cost": {
                "evaluations": effort.evaluations,
                "with_gradient": effort.gradients,
                "cpu_seconds": round(effort.cpu_seconds, 2),
            },
            "search": dict(self.settings),
            "regions": None if self.regions is None else [list(group) for group in self.regions.groups],
            "groups": [_group(group) for group in self.groups],
            "failed": dict(self.failed),
        }

    def save(self, folder: Path, name: str) -> Path:
        """Write `<name>.yaml` and `<name>_trace.csv`; return the former.

        Args:
            folder: made where it is missing.
            name: without ending.
        """
        trace = [
            {
                "group": number,
                "step": point.step,
                "evaluations": point.evaluations,
                "objective": point.objective,
                **{f"smoothness_{region}": value for region, value in enumerate(point.weights)},
            }
            for number, group in enumerate(self.groups)
            for point in group.trace.points
        ]
        write_csv(pd.DataFrame(trace), folder / f"{name}_trace.csv", digits=7)
        text = yaml.safe_dump(self.content(), sort_keys=False, allow_unicode=True)
        return write_text(folder / f"{name}.yaml", text)


def _group(group: GroupResult) -> dict[str, Any]:
    best = group.trace.best
    return {
        "cases": list(group.cases),
        "weights": [_short(value) for value in best.weights],
        "objective": {"before": _short(group.trace.first.objective), "after": _short(best.objective)},
        "steps": len(group.trace.points) - 1,
        "best_step": best.step,
        **({} if group.error is None else {"error": group.error}),
    }


def _short(value: float) -> float:
    return float(f"{value:.7g}")
