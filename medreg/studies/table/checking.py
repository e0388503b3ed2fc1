"""Refuse a table that cannot work before anything is computed: names that point nowhere, options that do not exist."""

from __future__ import annotations

from collections.abc import Iterable

from medreg.config.suggest import did_you_mean
from medreg.errors import ConfigError
from medreg.reporting.vocabulary import METRICS
from medreg.studies.table.claims import parse_claim
from medreg.studies.table.reading import Source
from medreg.studies.table.table_file import FACTS, TableFile


def check_names(table: TableFile, source: Source) -> None:
    """Check references between the parts of a table file.

    Raises:
        ConfigError: with file and line.
    """
    _check_columns(table, source)
    _check_labels(table, source)
    if table.reference is not None:
        _known(source, ("reference",), table.reference, table.rows, "row")
    if table.match != "none" and table.reference is None:
        raise source.error(("match",), "rows are matched to a reference; name one (reference: ROW).")
    for name, row in table.rows.items():
        if row.into is not None and (row.of is None or row.work is not None):
            raise source.error(
                ("rows", name, "into"),
                "into: names the option that takes the run of a row; say of which, of: ROW.",
            )
        if row.of is not None:
            _known(source, ("rows", name, "of"), row.of, table.rows, "row")
            _trains(table, source, name)
            _there(table, source, ("rows", name, "of"), row.of, row.scales)
    if table.match != "none" and table.reference is not None:
        _there(table, source, ("reference",), table.reference, [s for s in table.scales if table.rows_at(s)])
    for scale, spec in table.scales.items():
        for name in spec.rows:
            _known(source, ("scales", scale, "rows", name), name, table.rows, "row")
    _check_claims(table, source)


def _trains(table: TableFile, source: Source, name: str) -> None:
    """Refuse a row of a row that only tests, and one that needs itself."""
    met, row = [name], table.rows[name]
    while row.of is not None and row.of in table.rows:
        if row.of in met:
            raise source.error(
                ("rows", name, "of"), f"{' → '.join([*met, row.of])}: a row cannot need itself."
            )
        met.append(row.of)
        row = table.rows[row.of]
        if row.of is not None and row.into is None:
            raise source.error(
                ("rows", name, "of"), f"{met[-1]} trains nothing itself; name a row that does."
            )


def _check_columns(table: TableFile, source: Source) -> None:
    for name, column in table.columns.items():
        if column.metric not in METRICS and not column.fact and column.better is None:
            hint = did_you_mean(column.metric, [*METRICS, *FACTS])
            raise source.error(
                ("columns", name, "metric"),
                f"{column.metric!r} is no metric that is known here.{hint} A metric of your own says "
                "`better: higher`, lower or neither.",
            )


def _check_labels(table: TableFile, source: Source) -> None:
    """Two rows that a reader cannot tell apart are refused."""
    for scale in table.scales:
        names: dict[str, str] = {}
        for name, row in table.rows_at(scale).items():
            label = table.label(name)
            if row.shown and label in names:
                raise source.error(
                    ("rows", name, "label"),
                    f"row {names[label]!r} is printed as {label!r}, too; give one of them another label.",
                )
            names |= {label: name} if row.shown else {}


def _there(
    table: TableFile, source: Source, where: tuple[str, ...], name: str, scales: Iterable[str]
) -> None:
    """Refuse a row that is needed at a scale at which it does not exist."""
    for scale in scales:
        if scale in table.scales and scale not in table.rows[name].scales:
            raise source.error(
                where,
                f"row {name!r} is needed at the scale {scale}, where it does not exist; add it to its scales.",
            )


def _check_claims(table: TableFile, source: Source) -> None:
    for number, spec in enumerate(table.claims):
        where = ("claims", number)
        try:
            claim = parse_claim(spec.claim)
        except ConfigError as error:
            raise source.error(where, str(error)) from error
        for row, column in claim.terms:
            _known(source, where, row, table.rows, "row")
            _known(source, where, column, table.columns, "column")


def _known(source: Source, where: tuple[str | int, ...], name: str, known: Iterable[str], what: str) -> None:
    names = list(known)
    if name not in names:
        hint = did_you_mean(name, names)
        raise source.error(where, f"there is no {what} {name!r}.{hint} The {what}s are {', '.join(names)}.")
