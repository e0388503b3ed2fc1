"""The table of people that comes with hearts: age, sex and body, checked before anything is trained on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medreg.data.tables import read_rows
from medreg.errors import ConfigError, DataError

SETS = ("train", "val", "test")
METRES, INCHES, POUNDS = 100.0, 2.54, 0.45359237  # factors to cm, cm and kg


@dataclass(frozen=True)
class Told:
    """One row of the table.

    Attributes:
        covariates: name → number or category; what is unknown is left out.
        split: "train", "val", "test" or None.
    """

    covariates: Mapping[str, float | str]
    split: str | None


class HeartTable:
    """How the table of a data set is read.

    Args:
        columns: covariate → column; None: the table does not tell it.
        subject: column of the person.
        visit: column of the number of the visit; None: one visit a person.
        split: column of the set; None: the table names none.
        sex: word of the table → 0 (female) or 1 (male).
        factors: covariate → factor from the unit of the table to that in the name of the covariate.
        limits: covariate → least and greatest value that a person can have, in the unit of its name.
        missing: words that mean that a value is unknown, beside an empty cell.
        categories: covariates that are categories though they look like numbers.
        shown: whether messages may name people.
    """

    def __init__(
        self,
        *,
        columns: Mapping[str, Any],
        subject: str,
        visit: str | None,
        split: str | None,
        sex: Mapping[Any, Any],
        factors: Mapping[str, Any],
        limits: Mapping[str, Any],
        missing: Sequence[str],
        categories: Sequence[str],
        shown: bool,
    ) -> None:
        self.columns = {str(name): str(column) for name, column in columns.items() if column is not None}
        self.subject, self.visit, self.split = subject, visit, split
        self.sex = _sex_words(sex)
        self.factors = {str(name): float(factor) for name, factor in factors.items() if factor is not None}
        self.limits = {name: (float(ends[0]), float(ends[1])) for name, ends in limits.items()}
        self.missing = frozenset(str(word).casefold() for word in missing)
        self.categories = frozenset(categories)
        self.shown = shown
        unknown = sorted(set(self.factors) - set(self.columns))
        if unknown:
            raise ConfigError(
                f"data.dataset.factors.{unknown[0]}: data.dataset.columns has no covariate {unknown[0]} "
                f"(it has {', '.join(self.columns)})."
            )

    def read(self, file: Path) -> dict[tuple[str, int | None], Told]:
        """Return (person, visit) → what is told; the visit is None where the table has no such column.

        Raises:
            DataError: a column or cell that is not in order; names file, row and column.
        """
        rows = read_rows(file, self.subject)
        self._check_columns(file, rows)
        found: dict[tuple[str, int | None], Told] = {}
        sets: dict[str, str | None] = {}
        for number, row in enumerate(rows, start=1):
            subject = row[self.subject]
            where = f"{file}, row {number}" + (f" ({subject})" if self.shown and subject else "")
            if not subject:
                raise DataError(f"{where}: the column {self.subject!r} is empty; every row names a person.")
            key = subject, self._visit(row, where)
            if key in found:
                raise DataError(
                    f"{where}: the same person{'' if key[1] is None else ' and visit'} as in a row above."
                )
            found[key] = Told(self._covariates(row, where), self._split(row, where))
            if sets.setdefault(subject, found[key].split) != found[key].split:
                raise DataError(
                    f"{where}: column {self.split!r} puts the visits of one person into different sets; a person "
                    "belongs to one."
                )
        return found

    def _check_columns(self, file: Path, rows: Sequence[Mapping[str, str]]) -> None:
        if not rows:
            raise DataError(f"{file} has no rows below its header; write one for each person.")
        named = {f"columns.{name}": column for name, column in self.columns.items()}
        named |= {"visit": self.visit or "", "split": self.split or ""}
        for option, column in named.items():
            if column and column not in rows[0]:
                raise DataError(
                    f"{file} has no column {column!r} (data.dataset.{option}); it has {', '.join(rows[0])}. Give the "
                    "name of the column, or null if the table does not tell it."
                )

    def _visit(self, row: Mapping[str, str], where: str) -> int | None:
        if self.visit is None:
            return None
        text = row[self.visit]
        if not text.isdecimal():
            raise DataError(
                f"{where}: column {self.visit!r} is {text!r}; give the number of the visit, such as 1."
            )
        return int(text)

    def _split(self, row: Mapping[str, str], where: str) -> str | None:
        text = row[self.split] if self.split else ""
        if text and text not in SETS:
            raise DataError(f"{where}: column {self.split!r} is {text!r}; train, val or test, or nothing.")
        return text or None

    def _covariates(self, row: Mapping[str, str], where: str) -> dict[str, float | str]:
        found: dict[str, float | str] = {}
        for name, column in self.columns.items():
            text = row[column]
            if text and text.casefold() not in self.missing:
                found[name] = self._value(name, text, f"{where}, column {column!r}")
        return found

    def _value(self, name: str, text: str, where: str) -> float | str:
        if name in self.categories:
            return text
        if name == "sex":
            return self._sex(text, where)
        try:
            number = float(text)
        except ValueError:
            if name not in self.limits and name not in self.factors and not text[0].isdigit():
                return text
            comma = "; write numbers with a point" if "," in text else ""
            raise DataError(f"{where}: {name} is {text!r}, which is no number{comma}.") from None
        value = number * self.factors.get(name, 1.0)
        low, high = self.limits.get(name, (-float("inf"), float("inf")))
        if not low <= value <= high or value in (float("inf"), -float("inf")):
            raise DataError(
                f"{where}: {name} is {text}{_times(self.factors.get(name))}, which no person has ({low:g} to {high:g})."
                + self._hint(name, number, (low, high))
            )
        return value

    def _hint(self, name: str, number: float, limits: tuple[float, float]) -> str:
        """Say which unit would make sense of a number."""
        units = {"height_cm": {"metres": METRES, "inches": INCHES}, "weight_kg": {"pounds": POUNDS}}.get(
            name, {}
        )
        for unit, factor in units.items():
            if limits[0] <= number * factor <= limits[1]:
                return f" If the column is in {unit}, set data.dataset.factors.{name}={factor:g}."
        return " Correct the table, or name the word for unknown values in data.dataset.missing."

    def _sex(self, text: str, where: str) -> float:
        key = _word(text)
        if key not in self.sex:
            raise DataError(
                f"{where}: sex is {text!r}; data.dataset.sex knows {', '.join(self.sex)}. Say what the table means, "
                f"such as '++data.dataset.sex={{{text}: 1}}' (0 is female, 1 male)."
            )
        return self.sex[key]


def _sex_words(sex: Mapping[Any, Any]) -> dict[str, float]:
    found: dict[str, float] = {}
    for word, code in sex.items():
        if code is None:
            continue
        if code not in (0, 1) or found.setdefault(_word(str(word)), float(code)) != float(code):
            raise ConfigError(
                f"data.dataset.sex.{word} is {code!r}; every word means 0 (female) or 1 (male), and one of them only."
            )
    return found


def _word(text: str) -> str:
    """A word as it is compared: without case, and 1.0 as 1."""
    text = text.strip().casefold()
    return text.removesuffix(".0") if text.removesuffix(".0").isdecimal() else text


def _times(factor: float | None) -> str:
    return "" if factor is None else f" · {factor:g}"
