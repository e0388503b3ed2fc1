"""From the tidy table of one task to one matrix of methods × items per factor of its rank score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medreg.errors import DataError
from medreg.studies.learn2reg.hygiene import cleaned, hardest, regularity_of_nothing, sign_of
from medreg.studies.learn2reg.ranking_rules import Rules, base_of, current_name, kind_of
from medreg.studies.learn2reg.ranking_significance import Values
from medreg.studies.learn2reg.schema import CASE_MEAN

SHOWN = 6  # names listed in a message
CONSTANT_KINDS = ("runtime", "sdlogj")  # whose values the rules may replace by a constant


@dataclass(frozen=True)
class Factor:
    """One factor of a rank score.

    Attributes:
        name: such as DSC30.
        metric: the metric of the table that it is made of.
        values: all methods that have it, larger is better.
        present: (N,) which of all methods these are.
        means: (N,) in the metric's own direction, NaN where a constant stands for the values.
    """

    name: str
    metric: str
    values: Values
    present: NDArray[np.bool_]
    means: NDArray[np.float64]


@dataclass(frozen=True)
class Items:
    """All factors of a task, and what a reader has to know about them."""

    factors: tuple[Factor, ...]
    rules: Rules
    cases: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Matrix:
    """Values of a metric: (N, K) in its own direction, NaN rows for methods without it."""

    metric: str
    values: NDArray[np.float64]
    cases: NDArray[np.int64]
    present: NDArray[np.bool_]


def build_items(
    table: pd.DataFrame,
    methods: Sequence[str],
    rules: Rules,
    *,
    initial: str | None,
    runtime: bool = True,
    allow_missing: bool = False,
) -> Items:
    """Make the factors of a task.

    Args:
        table: columns method, case, metric, item, value, of one task; `item` −1 is the mean of the case. May hold
            the unregistered state although it is not among `methods`.
        methods: to be ranked, in order.
        rules: of the task.
        initial: name of the unregistered state, None if nobody is.
        runtime: whether runtimes count.
        allow_missing: methods without a metric get the lowest score instead of an error.

    Raises:
        DataError: methods with different cases, metrics or numbers of items.
    """
    table = table.assign(metric=table["metric"].map(current_name))
    notes: list[str] = []
    rules, found = _available(table, methods, rules, runtime=runtime, notes=notes)
    cases = _same_cases(table, methods, set(found.values()))
    matrices: dict[str, Matrix] = {}
    everyone = [*methods, *([initial] if initial is not None and initial not in methods else [])]
    for metric in dict.fromkeys(found.values()):
        matrix = _matrix(table, everyone, metric, cases, notes=notes)
        _require(matrix, methods, allow_missing=allow_missing)
        matrices[metric] = _clean(matrix, everyone, rules, initial=initial, notes=notes)
    factors = [
        _factor(name, matrices[found[base_of(name)]], methods, everyone, rules, initial=initial, notes=notes)
        for name in rules.factors
    ]
    return Items(tuple(factors), rules, cases, tuple(dict.fromkeys(notes)))


def _available(
    table: pd.DataFrame, methods: Sequence[str], rules: Rules, *, runtime: bool, notes: list[str]
) -> tuple[Rules, dict[str, str]]:
    """Rules restricted to what the table holds, and the metric of the table for each metric of the rules."""
    there = list(pd.unique(table.loc[table["method"].isin(methods), "metric"]))
    bases = list(dict.fromkeys(base_of(name) for name in rules.factors))
    found = {base: metric for base in bases if (metric := _find(base, there, bases)) is not None}
    if "runtime" in bases and (not runtime or "runtime" not in found):
        rules = rules.no_runtime()
        found.pop("runtime", None)
        if runtime:
            notes.append(f"{rules.task}: no method has runtimes; ranked without them.")
    kept = tuple(name for name in rules.factors if base_of(name) in found)
    if not kept:
        raise DataError(
            f"{rules.task}: none of {', '.join(bases)} is in the files; they hold {', '.join(there)}. "
            "Give rules for these metrics (--rules FILE)."
        )
    lost = [name for name in dict.fromkeys(rules.factors) if name not in kept]
    if lost:
        notes.append(f"{rules.task}: left out of the score because no file has it: {', '.join(lost)}.")
        rules = replace(rules, factors=kept, exponent=None)
    return rules, found


def _find(base: str, there: Sequence[str], bases: Sequence[str]) -> str | None:
    """The metric of that name, or the only one of its kind."""
    if base in there:
        return base
    kind = kind_of(base)
    alike = [metric for metric in there if kind_of(metric) == kind and metric not in bases]
    return alike[0] if kind and len(alike) == 1 else None


def _same_cases(table: pd.DataFrame, methods: Sequence[str], metrics: set[str]) -> tuple[str, ...]:
    """Cases of the first method after checking that all others have them."""
    rows = table[table["metric"].isin({metric for metric in metrics if kind_of(metric) != "runtime"})]
    sets = {name: set(rows.loc[rows["method"] == name, "case"].map(str)) for name in methods}
    everything = set().union(*sets.values())
    wrong = {name: sorted(everything - has) for name, has in sets.items() if has != everything}
    if wrong:
        told = "; ".join(f"{name} lacks {_list(lost)}" for name, lost in wrong.items())
        raise DataError(
            f"The methods were not evaluated on the same cases: {told}. Evaluate them all on the same pairs, or rank "
            "what they share (--common)."
        )
    return tuple(sorted(everything))


def _matrix(
    table: pd.DataFrame, methods: Sequence[str], metric: str, cases: Sequence[str], *, notes: list[str]
) -> Matrix:
    rows = table[(table["metric"] == metric) & table["case"].isin(cases) & table["method"].isin(methods)]
    detailed = set(rows.loc[rows["item"] != CASE_MEAN, "method"])
    having = set(rows["method"])
    if detailed == having:
        rows = rows[rows["item"] != CASE_MEAN]
    else:
        rows = rows[rows["item"] == CASE_MEAN]
        if kind_of(metric) in ("dice", "hd95", "tre"):
            notes.append(
                f"{metric}: ranked by means of cases, because not every file has the structures or points."
            )
    rows = rows.drop_duplicates(["method", "case", "item"], keep="last")
    wide = rows.set_index(["case", "item", "method"])["value"].unstack("method")
    wide = wide.sort_index().reindex(columns=list(methods))
    _same_items(rows.groupby("method").size(), metric, len(wide))
    number = {case: k for k, case in enumerate(cases)}
    index = np.array([number[case] for case in map(str, wide.index.get_level_values("case"))], dtype=np.int64)
    present = np.array([name in having for name in methods])
    return Matrix(metric, wide.to_numpy(dtype=np.float64).T, index, present)


def _same_items(counted: pd.Series, metric: str, number: int) -> None:
    """Refuse different structures or points; a missing runtime of a case is no error."""
    if kind_of(metric) != "runtime" and (counted != number).any():
        told = ", ".join(
            f"{name} {count}" for name, count in zip(map(str, counted.index), counted, strict=True)
        )
        raise DataError(
            f"{metric}: the methods have not the same {number} items ({told}). Were they evaluated with the same "
            "labels and points? Evaluate them again with one config."
        )


def _require(matrix: Matrix, methods: Sequence[str], *, allow_missing: bool) -> None:
    lost = [name for name, there in zip(methods, matrix.present, strict=False) if not there]
    if lost and not allow_missing and kind_of(matrix.metric) != "runtime":
        raise DataError(
            f"{_list(lost)} has no {matrix.metric}, but others do. Evaluate all methods with one config, or give "
            "methods without a value the lowest score (--allow-missing)."
        )


def _clean(
    matrix: Matrix, methods: Sequence[str], rules: Rules, *, initial: str | None, notes: list[str]
) -> Matrix:
    values, present = matrix.values.copy(), matrix.present.copy()
    kind, replaced = kind_of(matrix.metric), []
    for k, name in enumerate(methods):
        if kind == "runtime":
            known = name != initial and bool(np.isfinite(values[k]).all())
            present[k] = known or rules.missing_runtime is not None
            if not known:
                values[k] = np.nan if rules.missing_runtime is None else rules.missing_runtime
            continue
        if not present[k]:
            continue
        done = cleaned(values[k], metric=matrix.metric, rules=rules)
        values[k] = done.values
        if kind == "sdlogj" and name == initial:
            values[k] = regularity_of_nothing(values[k], rules=rules)
        elif done.replaced:
            replaced.append(f"{name} {done.replaced}")
    if replaced:
        notes.append(
            f"{matrix.metric}: undefined or infinite values, which count as the rules of the task say, among "
            f"{values.shape[1]}: {', '.join(replaced)}."
        )
    return replace(matrix, values=values, present=present)


def _factor(
    name: str,
    matrix: Matrix,
    methods: Sequence[str],
    everyone: Sequence[str],
    rules: Rules,
    *,
    initial: str | None,
    notes: list[str],
) -> Factor:
    chosen = np.arange(len(matrix.cases))
    if name != base_of(name):
        if initial is not None and matrix.present[everyone.index(initial)]:
            before = matrix.values[everyone.index(initial)]
        else:
            before = matrix.values[matrix.present].mean(axis=0)
            notes.append(
                f"{name}: there is no unregistered state, so the hardest items are those that are worst on average "
                "over the methods; they change with the methods in the table (--initial fixes them)."
            )
        chosen = hardest(before, matrix.cases, metric=matrix.metric, rules=rules)
    values = matrix.values[: len(methods), chosen]
    present = matrix.present[: len(methods)]
    means = np.where(present, values.mean(axis=1), np.nan)
    constant = kind_of(matrix.metric) in CONSTANT_KINDS
    for k, method in enumerate(methods):
        replaced = kind_of(matrix.metric) == "runtime" and bool((values[k] == rules.missing_runtime).all())
        if constant and (method == initial or replaced):
            means[k] = np.nan
    held = Values(values[present] * sign_of(matrix.metric), matrix.cases[chosen], int(matrix.cases.max()) + 1)
    return Factor(name, matrix.metric, held, present.copy(), means)


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(names[:SHOWN])
    return f"{shown} and {len(names) - SHOWN} more" if len(names) > SHOWN else shown
