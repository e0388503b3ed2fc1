"""A table of text, as Markdown and on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.table import Table as RichTable
from rich.text import Text


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
        """The table without its title, and the note."""
        lines = [
            "| " + " | ".join(self.columns) + " |",
            "| " + " | ".join("---" for _ in self.columns) + " |",
            *("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in self.rows),
        ]
        return "\n".join([*lines, *(["", self.note] if self.note else [])])

    def rich(self) -> RichTable:
        """For the terminal."""
        table = RichTable(box=box.SIMPLE, title=self.title, title_justify="left", caption=self.note or None)
        for position, column in enumerate(self.columns):
            table.add_column(Text(column), justify="left" if position == 0 else "right", overflow="fold")
        for row in self.rows:
            table.add_row(*(Text(cell) for cell in row))
        return table


def number(value: float, digits: int = 3) -> str:
    """Significant digits without an exponent; a dash for what is not known."""
    if value != value or value in (float("inf"), float("-inf")):
        return "–"
    if value == 0:
        return "0"
    text = f"{value:.{digits}g}"
    return f"{float(text):,.0f}".replace(",", "\u2009") if "e+" in text or abs(value) >= 10**digits else text
