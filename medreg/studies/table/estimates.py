"""From rows of units to the numbers of a table: means with their spread over cases and over seeds, and tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from medreg.metrics.hearts.sources import POPULATION
from medreg.reporting.statistics import Interval, bootstrap_mean, corrected, welch, wilcoxon
from medreg.reporting.tables import overall_structure
from medreg.reporting.vocabulary import COST
from medreg.studies.table.matching import match_rows
from medreg.studies.table.plan import TablePlan, UnitStanding
from medreg.studies.table.table_file import FACTS, ColumnSpec, TableFile

Key = tuple[str, int]  # row and seed


@dataclass(frozen=True)
class TableResults:
    """What is known of a table at a scale.

    Attributes:
        table: the table.
        scale: smoke, laptop or paper.
        frame: columns row, seed, case, structure, metric, value, unit.
        facts: (row, seed) → facts of the run.
        standings: (row, seed) → how the unit stands, for every unit.
        origin: where the rows come from, if not from runs of this machine.
    """

    table: TableFile
    scale: str
    frame: pd.DataFrame
    facts: Mapping[Key, Mapping[str, Any]]
    standings: Mapping[Key, UnitStanding]
    origin: str = ""
    _values: dict[tuple[str, str], pd.DataFrame] = field(default_factory=dict)

    @property
    def rows(self) -> list[str]:
        """Rows that are printed."""
        return [name for name, row in self.table.rows_at(self.scale).items() if row.shown]

    def values(self, row: str, column: str) -> pd.DataFrame:
        """Return the values of a cell, one line a case, one column a seed; empty where there are none."""
        if (row, column) not in self._values:
            self._values[row, column] = self._pivot(row, self.table.columns[column])
        return self._values[row, column]

    def _pivot(self, row: str, spec: ColumnSpec) -> pd.DataFrame:
        if spec.fact:
            found = {seed: f.get(spec.metric) for (name, seed), f in self.facts.items() if name == row}
            known = {seed: float(value) * spec.scale for seed, value in found.items() if value is not None}
            return pd.DataFrame([known], index=["run"]) if known else pd.DataFrame()
        own = self.frame[(self.frame["row"] == row) & (self.frame["metric"] == spec.metric)]
        own = own[own["structure"] == (spec.structure or overall_structure(own, spec.metric))]
        if own.empty:
            return pd.DataFrame()
        wide = own.pivot_table(index="case", columns="seed", values="value", aggfunc="mean", sort=False)
        return wide.replace([np.inf, -np.inf], np.nan) * spec.scale

    def unit(self, column: str) -> str:
        """Return the unit that a column is printed in."""
        spec = self.table.columns[column]
        units = self.frame.loc[self.frame["metric"] == spec.metric, "unit"]
        known = FACTS[spec.metric][1] if spec.fact else str(next(iter(units), "1"))
        return spec.unit if spec.unit is not None else known


@dataclass(frozen=True)
class Estimate:
    """A cell.

    Attributes:
        mean: over cases and seeds.
        sd_cases: standard deviation (n − 1) over cases, each averaged over seeds.
        sd_seeds: standard deviation (n − 1) of the seeds' means over cases.
        cases: their number.
        seeds: their number.
    """

    mean: float
    sd_cases: float
    sd_seeds: float
    cases: int
    seeds: int


@dataclass(frozen=True)
class Comparison:
    """A row against the reference in one column.

    Attributes:
        row: the row.
        column: the column.
        difference: row − reference, paired by case, averaged over seeds; with its 95 % bootstrap interval.
        p_cases: Wilcoxon signed-rank over cases, corrected for all tests of the table.
        p_seeds: Welch's t-test of the seeds' means, corrected likewise.
        raw_cases: the same before correction.
        raw_seeds: the same before correction.
    """

    row: str
    column: str
    difference: Interval
    p_cases: float
    p_seeds: float
    raw_cases: float
    raw_seeds: float


def estimate(values: pd.DataFrame) -> Estimate | None:
    """Return mean and spread of a cell, None where it is empty."""
    if values.empty or not np.isfinite(values.to_numpy(dtype=float)).any():
        return None
    by_case, by_seed = values.mean(axis=1).dropna(), values.mean(axis=0).dropna()
    return Estimate(
        float(by_case.mean()),
        float(by_case.std(ddof=1)),
        float(by_seed.std(ddof=1)),
        len(by_case),
        len(by_seed),
    )


def tested(table: TableFile) -> list[str]:
    """Return the columns in which rows are tested: scores of alignment that have a better direction."""
    return [
        name
        for name, spec in table.columns.items()
        if spec.direction != "neither" and not spec.fact and spec.metric not in COST
    ]


def compare_rows(results: TableResults) -> list[Comparison]:
    """Test every row against the reference in every column that has a direction."""
    reference = results.table.reference
    found: list[Comparison] = []
    for row in results.rows if reference is not None else []:
        for column in tested(results.table) if row != reference else []:
            ours, theirs = results.values(row, column), results.values(str(reference), column)
            if ours.empty or theirs.empty:
                continue
            differences = (ours.mean(axis=1) - theirs.mean(axis=1)).dropna().to_numpy(dtype=float)
            one, two = (values.mean(axis=0).to_numpy(dtype=float) for values in (ours, theirs))
            p, q = wilcoxon(differences), welch(one, two)
            found.append(Comparison(row, column, _interval(ours, differences), p, q, p, q))
    over_cases = corrected([test.raw_cases for test in found])
    over_seeds = corrected([test.raw_seeds for test in found])
    pairs = zip(found, over_cases, over_seeds, strict=True)
    return [replace(test, p_cases=p, p_seeds=q) for test, p, q in pairs]


def _interval(values: pd.DataFrame, differences: np.ndarray[Any, np.dtype[np.float64]]) -> Interval:
    """Return the mean difference; that of numbers of all cases together has no interval, and no cases."""
    if (values.index.astype(str) == POPULATION).all():
        return Interval(float(np.mean(differences)), float("nan"), float("nan"), 0)
    return bootstrap_mean(differences)


def gather(plan: TablePlan) -> TableResults:
    """Collect what the store of a table holds, stale rows too; each unit says how it stands."""
    frames, facts, standings = [], {}, {}
    for wave in plan.waves():
        if plan.table.match != "none":
            match_rows(plan, [row for row in wave if plan.rows[row].of is None], None)
        for request in plan.requests(wave):
            key = (request.row, request.seed)
            standings[key] = standing = plan.standing(request)
            found = plan.store.any(request.unit)
            if found is not None and standing.state in ("there", "stale"):
                frames.append(pd.DataFrame(list(found.rows)).assign(row=request.row, seed=request.seed))
                facts[key] = found.cost
    return TableResults(plan.table, plan.scale, joined(frames), facts, standings)


def joined(frames: list[pd.DataFrame]) -> pd.DataFrame:
    """Put rows of units together; without any, an empty table with the right columns."""
    columns = ["row", "seed", "case", "structure", "metric", "value", "unit"]
    if not frames:
        return pd.DataFrame({name: pd.Series(dtype=object) for name in columns})
    whole = pd.concat(frames, ignore_index=True)[columns]
    return whole.assign(value=pd.to_numeric(whole["value"]))
