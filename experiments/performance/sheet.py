"""A table of text, as Markdown and on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medreg.reporting.formats import to_markdown, to_rich
from medreg.reporting.tables import Cell, Table

if TYPE_CHECKING:
    from rich.table import Table as RichTable


@dataclass(frozen=True)
class Sheet:
    """Rows of text.

    Attributes:
        name: of the marked place of a document that it fills.
        title: above it.
        columns: headings.
        rows: as many cells each.
        note: below it.
        figure: name of the figure that belongs to it in a document.
    """

    name: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    figure: str = ""

    def markdown(self) -> str:
        """Return the table without its title, and the note."""
        return to_markdown(self._table("")).rstrip("\n")

    def rich(self) -> RichTable:
        """Return the table for the terminal."""
        return to_rich(self._table(self.title))

    def _table(self, title: str) -> Table:
        rows = tuple(tuple(map(Cell, row)) for row in self.rows)
        return Table(title, tuple(self.columns), rows, (self.note,) if self.note else ())


def number(value: float, digits: int = 3) -> str:
    """Significant digits without an exponent; a dash for what is not known."""
    if value != value or value in (float("inf"), float("-inf")):
        return "–"
    if value == 0:
        return "0"
    text = f"{value:.{digits}g}"
    return f"{float(text):,.0f}".replace(",", "\u2009") if "e+" in text or abs(value) >= 10**digits else text
