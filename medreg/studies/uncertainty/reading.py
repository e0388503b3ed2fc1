"""The methods of some runs with their counts and rows, on the same cases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from medreg.errors import ConfigError, DataError
from medreg.reporting.results import RunFolder, read_calibration, read_run

FILE = "calibration.csv"


@dataclass(frozen=True)
class Method:
    """One method of one run.

    Attributes:
        name: in tables, unique among those that are compared.
        counts: rows of calibration.csv without the column method.
        results: rows of results.csv of this method.
        run: name of the run.
        notes: oddities found while reading.
    """

    name: str
    counts: pd.DataFrame
    results: pd.DataFrame
    run: str
    notes: tuple[str, ...] = ()

    @property
    def cases(self) -> frozenset[str]:
        """Names of the cases that have counts."""
        return frozenset(self.counts["case"])

    def of(self, cases: frozenset[str]) -> Method:
        """The method on some of its cases."""
        return replace(
            self,
            counts=self.counts[self.counts["case"].isin(cases)].reset_index(drop=True),
            results=self.results[self.results["case"].isin(cases)].reset_index(drop=True),
        )


def read_methods(sources: Sequence[str], *, common: bool = False) -> list[Method]:
    """Read the methods that state an uncertainty, in the order of the sources.

    Args:
        sources: run folders; NAME=FOLDER names what is in it.
        common: whether methods with different cases are compared on those that all have.

    Raises:
        DataError: no run, no calibration.csv, damaged tables, or runs on different data or cases.
        ConfigError: two methods with one name.
    """
    found = [method for source in sources for method in _of_run(source)]
    found = _told_apart(found)
    _check_data(found)
    shared = frozenset.intersection(*(method.cases for method in found))
    odd = next((method for method in found if method.cases != found[0].cases), None)
    if odd is None:
        return found
    if not common or not shared:
        lack = sorted(found[0].cases ^ odd.cases)
        raise DataError(
            f"{found[0].name} has {len(found[0].cases)} cases and {odd.name} {len(odd.cases)}; not both have "
            f"{', '.join(lack[:3])}{', …' if len(lack) > 3 else ''}. "
            + (
                "No case is common to all methods."
                if not shared
                else "--common compares them on the cases of all."
            )
        )
    return [method.of(shared) for method in found]


def read_validation(sources: Sequence[str], methods: Sequence[Method]) -> dict[str, Method]:
    """Read the validation cases of methods, by name, for recalibration.

    Args:
        sources: run folders as `read_methods`.
        methods: those that are compared.

    Raises:
        DataError: a method has no validation cases, or a case is validated and compared.
    """
    found = {method.name: method for method in _told_apart([m for s in sources for m in _of_run(s)])}
    for method in methods:
        mine = found.get(method.name)
        if mine is None:
            raise DataError(
                f"--validation has {', '.join(found)}, but not {method.name}; give runs of the same methods, with "
                "the same names (NAME=FOLDER)."
            )
        both = sorted(mine.cases & method.cases) if _data(mine) == _data(method) else []
        if both:
            raise DataError(
                f"{method.name}: {', '.join(both[:3])}{', …' if len(both) > 3 else ''} would be used to recalibrate "
                "and to judge the recalibration. Give other cases to --validation."
            )
    return found


def _of_run(source: str) -> list[Method]:
    name, sign, place = source.partition("=")
    folder = Path(place if sign and not Path(source).exists() else source)
    name = name if sign and not Path(source).exists() else ""
    run = read_run(folder)
    frame = read_calibration(folder / FILE)
    if frame.table.empty:
        raise DataError(
            f"{folder} has no {FILE}: its model states no uncertainty, the data have neither known motion nor labels, "
            "or it was evaluated by an older version. Evaluate a model that draws samples, on data that have them."
        )
    names = list(dict.fromkeys(frame.table["method"]))
    return [
        _method(name, single=len(names) == 1, method=m, run=run, counts=frame.table, notes=frame.notes)
        for m in names
    ]


def _method(
    name: str, *, single: bool, method: str, run: RunFolder, counts: pd.DataFrame, notes: tuple[str, ...]
) -> Method:
    shown = method if not name else name if single else f"{name}: {method}"
    mine = counts[counts["method"] == method].drop(columns="method").reset_index(drop=True)
    rows = run.results[run.results["method"] == method].reset_index(drop=True)
    return Method(shown, mine, rows, run.name, (*run.notes, *notes))


def _told_apart(methods: Sequence[Method]) -> list[Method]:
    often = Counter(method.name for method in methods)
    named = [replace(m, name=f"{m.name} [{m.run}]") if often[m.name] > 1 else m for m in methods]
    twice = [name for name, count in Counter(m.name for m in named).items() if count > 1]
    if twice:
        raise ConfigError(f"Two of the runs are called {twice[0]}; name them: FIRST=FOLDER SECOND=FOLDER.")
    return named


def _data(method: Method) -> frozenset[tuple[str, str]]:
    return frozenset(zip(method.results["data"], method.results["split"], strict=True))


def _check_data(methods: Sequence[Method]) -> None:
    known = [(method, _data(method)) for method in methods if not method.results.empty]
    for method, data in known[1:]:
        first, expected = known[0]
        if data != expected:
            told = " and ".join(
                f"{m.name} on {', '.join(sorted(' '.join(d) for d in s))}"
                for m, s in ((first, expected), (method, data))
            )
            raise DataError(
                f"Methods are compared on the same data, but these were evaluated on different: {told}."
            )
