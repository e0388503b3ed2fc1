"""The last screen of a run: its table, and where everything lies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from medreg.reporting.facts import notices
from medreg.reporting.formats import to_rich
from medreg.reporting.html import by_split
from medreg.reporting.results import read_run
from medreg.reporting.tables import by_structure, headline, structure_metrics

if TYPE_CHECKING:
    from rich.console import Console

FEW_STRUCTURES = 8


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
        console.print(to_rich(headline(rows, title=name)))
        metrics = structure_metrics(rows)
        if metrics and rows["structure"].nunique() <= FEW_STRUCTURES + 1:
            console.print(to_rich(by_structure(rows, metric=metrics[0]), notes=False))
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
