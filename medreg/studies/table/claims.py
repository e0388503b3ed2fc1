"""Claims of a paper, read from a line and answered from the rows of a table.

A claim holds between two rows, or a row and a number. It is *confirmed* where the 95 % bootstrap interval of the
difference over cases (each case averaged over seeds) lies wholly on the claimed side and every seed's mean agrees,
*not confirmed* where the interval lies wholly on the other side, and *undecided* otherwise. Rows that were kept as
means over cases (`MEAN_OF`) have no cases any more, and those of all cases together (`POPULATION`) never had: there the
interval is that of Student's t over seeds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from medreg.errors import ConfigError
from medreg.metrics.hearts.sources import POPULATION
from medreg.reporting.statistics import Interval, bootstrap_mean, t_interval
from medreg.studies.table.table_file import ClaimSpec, TableFile

FEW_CASES = 5  # fewer cases have no interval worth the name
FEW_SEEDS = 3  # likewise of seeds, where only means over cases were kept
MEAN_OF = "mean of "  # begins the name of a "case" that is a mean over cases, such as "mean of 10 cases"
NAME = r"([\w-]+)\.([\w-]+)"
NUMBER = r"\d+(?:\.\d*)?(?:[eE][+-]?\d+)?"
CLAIM = re.compile(rf"^\s*{NAME}\s*([<>])\s*(?:([+-]?{NUMBER})|{NAME}\s*(?:([+-])\s*({NUMBER}))?)\s*$")
Term = tuple[str, str]  # row and column


@dataclass(frozen=True)
class Claim:
    """left > right + margin, or < ; without `right`, against the margin alone."""

    left: Term
    greater: bool
    right: Term | None
    margin: float

    @property
    def terms(self) -> list[Term]:
        """Rows and columns that it speaks of."""
        return [self.left, *([self.right] if self.right else [])]


@dataclass(frozen=True)
class ClaimAnswer:
    """What the rows say to a claim.

    Attributes:
        spec: the claim as written.
        answer: confirmed, not confirmed or undecided.
        difference: left − right − margin, mean with its interval over cases; NaN where nothing was measured.
        why: what the answer rests on, or why there is none.
    """

    spec: ClaimSpec
    answer: str
    difference: Interval
    why: str

    def expected(self, scale: str) -> str | None:
        """Return the answer that the table file expects at a scale, None if it expects none."""
        return self.spec.expect.get(scale)  # type: ignore[call-overload]


def parse_claim(text: str) -> Claim:
    """Read a claim.

    Raises:
        ConfigError: another form than ROW.COLUMN > ROW.COLUMN - MARGIN or ROW.COLUMN > NUMBER.
    """
    found = CLAIM.match(text)
    if found is None:
        raise ConfigError(
            f"{text!r} is no claim. Write ROW.COLUMN > ROW.COLUMN, with a margin (… - 0.005) if need be, or "
            "ROW.COLUMN < NUMBER."
        )
    row, column, sign, number, other, theirs, plus, margin = found.groups()
    if number is not None:
        return Claim((row, column), sign == ">", None, float(number))
    size = float(margin or 0) * (-1 if plus == "-" else 1)
    return Claim((row, column), sign == ">", (other, theirs), size)


def answer(spec: ClaimSpec, values: dict[Term, pd.DataFrame], table: TableFile) -> ClaimAnswer:
    """Answer a claim.

    Args:
        spec: the claim.
        values: (row, column) → values, one line a case, one column a seed.
        table: that the rows belong to.
    """
    claim = parse_claim(spec.claim)
    nothing = Interval(float("nan"), float("nan"), float("nan"), 0)
    for row, column in claim.terms:
        if values[row, column].empty:
            return ClaimAnswer(spec, "undecided", nothing, f"{table.label(row)} has no {column}")
    left = values[claim.left]
    differences = (
        left - claim.margin if claim.right is None else _paired(left, values[claim.right]) - claim.margin
    )
    return _judge(spec, claim, differences, fact=table.columns[claim.left[1]].fact)


def _paired(left: pd.DataFrame, right: pd.DataFrame) -> pd.DataFrame:
    """Return differences by case, and by seed where both rows have several; otherwise against the mean over seeds."""
    seeds = left.columns.intersection(right.columns)
    if right.shape[1] == 1 or len(seeds) == 0:
        return left.sub(right.mean(axis=1), axis=0).dropna(how="all")
    if left.shape[1] == 1:
        return (-right).add(left.iloc[:, 0], axis=0).dropna(how="all")
    return (left[seeds] - right[seeds]).dropna(how="all")


def _judge(spec: ClaimSpec, claim: Claim, differences: pd.DataFrame, *, fact: bool) -> ClaimAnswer:
    sign = 1.0 if claim.greater else -1.0
    interval = bootstrap_mean(differences.mean(axis=1).to_numpy(dtype=float))
    by_seed = differences.mean(axis=0).to_numpy(dtype=float)
    agreeing = int(np.sum(sign * by_seed > 0))
    seeds = f"{agreeing} of {len(by_seed)} seeds agree"
    if fact:  # one number a run, no cases
        every = {len(by_seed): "confirmed", 0: "not confirmed"}.get(agreeing, "undecided")
        return ClaimAnswer(spec, every, interval, seeds)
    text = f"{interval.n} cases, {seeds}"
    kept = differences.index.astype(str)
    whole, means = bool((kept == POPULATION).all()), bool(kept.str.startswith(MEAN_OF).all())
    if (whole or means) and len(by_seed) >= FEW_SEEDS:
        told = "all cases together" if whole else "means over cases"
        interval, text = t_interval(by_seed), f"{told}, {seeds}"
    elif whole:
        why = f"all cases together, {seeds}; fewer than {FEW_SEEDS} seeds have no interval"
        return ClaimAnswer(spec, "undecided", interval, why)
    elif interval.n < FEW_CASES:
        return ClaimAnswer(spec, "undecided", interval, f"{interval.n} cases are too few")
    low, high = sorted((sign * interval.low, sign * interval.high))
    if low > 0 and agreeing == len(by_seed):
        return ClaimAnswer(spec, "confirmed", interval, text)
    return ClaimAnswer(spec, "not confirmed" if high <= 0 else "undecided", interval, text)
