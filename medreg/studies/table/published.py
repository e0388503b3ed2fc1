"""The published numbers of a paper: `experiments/<paper>/expected.csv`."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from medreg.config.suggest import did_you_mean
from medreg.errors import ConfigError
from medreg.studies.table.reading import read_text
from medreg.studies.table.table_file import TableFile

COLUMNS = ("metric", "value", "source")  # and, where lines belong to tables, `table` and `row`
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
        ConfigError: a line whose table does not exist, whose row or metric the table does not have, whose value is no
            number, or a cell with two values; with file and line.
    """
    found: dict[tuple[str, str], Published] = {}
    for where, line in _lines(file):
        if name not in line.get("table", "").split():
            continue
        row, metric, value = line["row"], line["metric"], line["value"]
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
        if value and (row, column) in found:
            raise ConfigError(
                f"{where}: {row}.{column} of table {name!r} has a published value already; keep one."
            )
        standing = line.get("confirmed") or line.get("standing") or ""
        if value:
            number = _number(value, where)
            found[row, column] = Published(number, STANDINGS.get(standing, standing), line["source"])
    return found


def _lines(file: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield place and content of every line; one that names a table which the paper does not have is refused."""
    if not file.is_file():
        return
    reader = csv.DictReader(io.StringIO(read_text(file), newline=""), strict=True)
    names = reader.fieldnames or ()
    needed = (*COLUMNS, "row") if "table" in names else COLUMNS
    lacking = [name for name in needed if name not in names]
    if lacking:
        raise ConfigError(
            f"{file}:1: there is no column {', '.join(lacking)}; the first line names the columns, with commas between."
        )
    tables = {table.stem for table in file.parent.glob("tables/*.yaml")}
    try:
        for line in reader:
            where = f"{file}:{reader.line_num}"
            for name in (line.get("table") or "").split():
                if name not in tables:
                    raise ConfigError(
                        f"{where}: the paper has no table {name!r}.{did_you_mean(name, tables)}"
                    )
            yield where, {key: value or "" for key, value in line.items() if key is not None}
    except csv.Error as error:
        raise ConfigError(
            f"{file}:{reader.line_num}: this is no line of a table ({error}); mend it."
        ) from error


def _column(table: TableFile, metric: str) -> str | None:
    if metric in table.columns:
        return metric
    return next((name for name, spec in table.columns.items() if spec.metric == metric), None)


def _number(text: str, where: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ConfigError(f"{where}: the published value {text!r} is no number; mend it, or leave it empty.")
    return number
