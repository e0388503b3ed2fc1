"""`medreg doctor data=NAME`: check a data set and say what to mend."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from medreg.errors import DatasetNotFound

if TYPE_CHECKING:
    from medreg.data.audit import Audit

STYLES = {"error": "bold red", "warning": "yellow", "info": "dim"}


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add the command to the subparsers of `medreg`."""
    parser = subparsers.add_parser(
        "doctor",
        help="check a data set and say what to mend",
        description="Count subjects, images and labels of a data set and look for missing files, wrong "
        "shapes, unknown "
        "label codes and headers that lie. Exit code 1 if anything must be mended before training.",
        epilog="example: medreg doctor data=acdc data.dataset.root=/data/ACDC/database",
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="OVERRIDE", help="data=NAME and changes, as for train.py (data=acdc)"
    )
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Print the state of the data set; 0 if it can be used, 1 if not."""
    from rich.console import Console
    from rich.progress import track

    from medreg.config.compose import compose
    from medreg.config.instantiate import build
    from medreg.data.audit import audit

    console = Console()
    data = build(compose(args.overrides).data)
    data.prepare_data()
    quiet = not console.is_terminal
    try:
        found = audit(
            data, progress=lambda records: track(records, "Reading", console=console, disable=quiet)
        )
    except DatasetNotFound as error:
        console.print(f"[bold red]{type(error).__name__}[/]: {error}", highlight=False)
        return 1
    console.print(render(data.dataset.title, found), highlight=False)
    return 1 if found.failed else 0


def render(title: str, found: Audit) -> Any:
    """Return the tables of an audit as one rich renderable."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    facts = Table(box=box.SIMPLE, show_header=False, title=title, title_justify="left")
    for name, text in found.facts.items():
        facts.add_row(name, Text(text))
    if not found.issues:
        return Group(facts, Text("Nothing to mend.", style="green"))
    issues = Table(box=box.SIMPLE)
    for name in ("", "files", "finding", "what to do", "example"):
        issues.add_column(name, overflow="fold")
    for issue in found.issues:
        style = STYLES[issue.severity]
        row = (issue.message, issue.remedy, issue.example)
        issues.add_row(Text(issue.severity, style=style), str(issue.count), *(Text(text) for text in row))
    return Group(facts, issues, Text(_verdict(found)))


def _verdict(found: Audit) -> str:
    kinds = {name: sum(issue.severity == name for issue in found.issues) for name in ("error", "warning")}
    if kinds["error"]:
        return f"{kinds['error']} kinds of errors must be mended before this data set can be used."
    return f"Usable; {kinds['warning']} kinds of warnings to look at."
