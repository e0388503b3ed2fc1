"""What every study tells while it runs: a progress line, how many units are done, and why others failed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from medreg.study.job import Progress, Tell
from medreg.study.unit import Outcome

if TYPE_CHECKING:
    from rich.console import Console

SHOWN = 3  # failures that are told in full


@contextmanager
def progress_line(console: Console, title: str) -> Iterator[Tell]:
    """Show a progress line on a terminal while the block runs, and yield what tells it of units.

    Args:
        console: where.
        title: before the line.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Lines

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Lines(*columns, console=console, disable=not console.is_terminal, transient=True) as lines:
        line = lines.add_task(title, total=None)

        def tell(progress: Progress) -> None:
            lines.update(line, completed=progress.done, total=progress.total)

        yield tell


def tell_failures(console: Console, outcomes: Sequence[Outcome], *, again: str = "retry=true") -> None:
    """Print the first failures, and how many more there are.

    Args:
        console: where.
        outcomes: of a study; those that are done are passed over.
        again: the option that does failed units again.
    """
    failures = [outcome for outcome in outcomes if outcome.failed]
    for one in failures[:SHOWN]:
        name = " ".join(str(value) for value in one.key.values())
        console.print(f"  [yellow]{name}[/] {one.error}", highlight=False, soft_wrap=True)
    if failures:
        more = f"and {len(failures) - SHOWN} more; " if len(failures) > SHOWN else ""
        console.print(f"  {more}{again} runs failed ones again", highlight=False)
