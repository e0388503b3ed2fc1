"""The published numbers of a paper: `experiments/<paper>/expected.csv`."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from medreg.errors import ConfigError
from medreg.studies.table.table_file import TableFile

STANDINGS = {"yes": "confirmed", "no": "not confirmed", "secondary": "from a third party"}


@dataclass(frozen=True)
class Published:
    """A published number that belongs to a cell of a table.

    Attributes:
        value: in the unit of the paper, which is that of our metric.
        standing: whether the number itself was seen where it was published.
        source: where it stands.
    """

    value: float
    standing: str
    source: str


def read_published(file: Path, name: str, table: TableFile) -> Mapping[tuple[str, str], Published]:
    """Return (row, column) → published number, for one table.

    A line belongs to a table by its columns `table` and `row`; its `metric` is the name of a column, or its metric.

    Raises:
        ConfigError: a line whose row or metric the table does not have.
    """
    found: dict[tuple[str, str], Published] = {}
    if not file.is_file():
        return found
    with file.open(encoding="utf-8", newline="") as stream:
        for line in (reader := csv.DictReader(stream)):
            if name not in (line.get("table") or "").split():
                continue
            row, metric, value = line.get("row") or "", line["metric"], line["value"]
            where = f"{file}:{reader.line_num}"
            if row not in table.rows:
                raise ConfigError(
                    f"{where}: the published row {row!r} has no counterpart in table {name!r}, which has "
                    f"{', '.join(table.rows)}; name one of them in the column row, or leave out the name of the table."
                )
            column = _column(table, metric)
            if column is None:
                raise ConfigError(
                    f"{where}: the published metric {metric!r} has no column in table {name!r}, which has "
                    f"{', '.join(table.columns)}; name one of them, or leave out the name of the table."
                )
            standing = line.get("confirmed") or line.get("standing") or ""
            if value:
                number = _number(value, where)
                found[row, column] = Published(number, STANDINGS.get(standing, standing), line["source"])
    return found


def _column(table: TableFile, metric: str) -> str | None:
    if metric in table.columns:
        return metric
    return next((name for name, spec in table.columns.items() if spec.metric == metric), None)


def _number(text: str, where: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise ConfigError(f"{where}: the published value {text!r} is no number.") from error
