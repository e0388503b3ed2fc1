"""Write a table as Markdown, LaTeX, CSV or for the terminal; for a page see `reporting.page`."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from medreg.io.atomic import write_text
from medreg.reporting.tables import Cell, Table

if TYPE_CHECKING:
    from rich.table import Table as RichTable

# Characters that mean something to LaTeX, and the arrows and signs that need mathematics there.
LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "±": r"$\pm$",
        "↑": r"$\uparrow$",
        "↓": r"$\downarrow$",
        "−": "$-$",
        "–": "--",
        "…": r"\dots{}",
        "<": "$<$",
        ">": "$>$",
    }
)


def write_tables(tables: Sequence[Table], folder: Path) -> None:
    """Write the tables as `tables.md`, `tables.tex` and `tables.csv`."""
    for ending, form in (("md", to_markdown), ("tex", to_latex), ("csv", to_csv)):
        write_text(folder / f"tables.{ending}", "\n".join(map(form, tables)))


def to_markdown(table: Table) -> str:
    """Pipe table; the best in bold, medians in parentheses, notes below."""
    lines = [f"**{_pipe(table.title)}**", ""] if table.title else []
    lines.append("| " + " | ".join(_pipe(name) for name in table.header) + " |")
    lines.append("| --- |" + " ---: |" * (len(table.header) - 1))
    for row in table.rows:
        lines.append("| " + " | ".join(_markdown_cell(cell) for cell in row) + " |")
    lines += [line for note in table.notes for line in ("", _pipe(note.replace("median below", "(median)")))]
    return "\n".join(lines) + "\n"


def to_latex(table: Table) -> str:
    """A `tabular` in booktabs style; the best in bold, medians in parentheses, notes as comments."""
    lines = [f"% {note.replace('median below', '(median)')}" for note in table.notes]
    lines += [rf"\begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}", r"\toprule"]
    lines.append(" & ".join(name.translate(LATEX) for name in table.header) + r" \\")
    lines.append(r"\midrule")
    for row in table.rows:
        lines.append(" & ".join(_latex_cell(cell) for cell in row) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    return "\n".join(lines) + "\n"


def to_csv(table: Table) -> str:
    """Comma-separated, as printed but for plain minus signs; medians in columns of their own."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(
        [table.header[0], *(f"{name}{end}" for name in table.header[1:] for end in ("", ", median"))]
    )
    for first, *others in table.rows:
        texts = [text.replace("−", "-") for cell in others for text in (cell.text, cell.detail)]
        writer.writerow([first.text, *texts])
    return buffer.getvalue()


def to_rich(table: Table, *, notes: bool = True) -> RichTable:
    """A table for the terminal; print it with a `rich.console.Console`."""
    from rich.table import Table as RichTable
    from rich.text import Text

    caption = "\n".join(table.notes) if notes and table.notes else None
    shown = RichTable(
        title=Text(table.title) if table.title else None,
        caption=Text(caption) if caption else None,
        title_justify="left",
        caption_justify="left",
    )
    for i, name in enumerate(table.header):
        shown.add_column(Text(name), justify="right" if i else "left", no_wrap=i > 0)
    for row in table.rows:
        texts = []
        for cell in row:
            text = Text(cell.text, style="bold" if cell.bold else "")
            texts.append(text.append(f"\n{cell.detail}", style="dim") if cell.detail else text)
        shown.add_row(*texts)
    return shown


def _pipe(text: str) -> str:
    return text.replace("|", r"\|")


def _markdown_cell(cell: Cell) -> str:
    text = f"**{_pipe(cell.text)}**" if cell.bold else _pipe(cell.text)
    return f"{text} ({cell.detail})" if cell.detail else text


def _latex_cell(cell: Cell) -> str:
    text = cell.text.translate(LATEX)
    text = rf"\textbf{{{text}}}" if cell.bold else text
    return f"{text} ({cell.detail.translate(LATEX)})" if cell.detail else text
