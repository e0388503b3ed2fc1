"""The last screen of a run: its table, and where everything lies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from medreg.reporting.facts import notices
from medreg.reporting.formats import to_rich
from medreg.reporting.results import read_run
from medreg.reporting.tables import (
    Cell,
    Table,
    by_split,
    by_structure,
    headline,
    paired_tests,
    structure_metrics,
)

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as RichTable

WIDEST = 240  # characters of a printed line
FEW_STRUCTURES = 8
FEW_METHODS = 4


def print_summary(folder: str | Path, *, console: Console | None = None) -> None:
    """Print the summary table of a run, the first metric by structure, and the paths of report and figures.

    Args:
        folder: The run folder.
        console: Where to print; the standard output if not given.

    Raises:
        DataError: If the folder is no run folder or one of its tables is damaged.
    """
    from rich.console import Console
    from rich.text import Text

    run = read_run(folder)
    console = console or Console()
    for name, rows in by_split(run.results):
        for table in _tables(rows, name):
            console.print(to_rich(table))
    if run.results.empty:
        console.print("No case has been evaluated yet.")
    for kind, text in notices(run):
        console.print(Text(text, style="bold red" if kind == "bad" else "dim"))
    places = {"run folder": run.path, "report": run.path / "report.html"}
    figures = sorted((run.path / "figures").glob("case_*.png")) or sorted(
        (run.path / "figures").glob("*.png")
    )
    if figures:
        places["figure"] = figures[0]
    for label, path in places.items():
        if path.exists():
            console.print(Text(f"{label:<10} {path}"), soft_wrap=True)


def wide_enough(shown: Sequence[RichTable]) -> Console:
    """A console on which the tables fit: a narrow one squeezes the names away; too wide a line is the lesser evil."""
    from rich.console import Console
    from rich.measure import Measurement

    console = Console()
    options = console.options.update(max_width=WIDEST)
    wanted = max((Measurement.get(console, options, table).maximum for table in shown), default=0)
    return Console(width=max(console.width, wanted))


def _tables(rows: pd.DataFrame, name: str) -> Iterator[Table]:
    """The summary, turned on its side where that is narrower, and the first metric by structure."""
    tests = paired_tests(rows)
    first = [test.sentence() + "." for test in tests if test.metric == tests[0].metric]
    table = headline(rows, title=name, tests=False)
    table = Table(table.title, table.header, table.rows, (*table.notes, *first))
    yield transpose(table) if len(table.rows) <= FEW_METHODS else table
    metrics = structure_metrics(rows)
    if metrics and rows["structure"].nunique() <= FEW_STRUCTURES + 1:
        structures = by_structure(rows, metric=metrics[0])
        yield Table(structures.title, structures.header, structures.rows)


def transpose(table: Table) -> Table:
    """The same table with rows as columns."""
    columns = zip(*(row[1:] for row in table.rows), strict=True)
    rows = [(Cell(name), *cells) for name, cells in zip(table.header[1:], columns, strict=True)]
    header = ("metric", *(row[0].text for row in table.rows))
    return Table(table.title, header, tuple(rows), table.notes)
