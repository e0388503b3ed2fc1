"""`medreg report`: make the report and the tables of a run again from its files."""

from __future__ import annotations

import argparse
from typing import Any


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser("report", help="make report.html, tables and figures of run folders again")
    parser.add_argument("folder", nargs="+", help="run folder; several give one table that compares them")
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--bibtex", action="store_true", help="only print what to cite for the run")
    shown.add_argument("--markdown", action="store_true", help="only print the tables as Markdown")
    shown.add_argument("--latex", action="store_true", help="only print the tables as LaTeX")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print what was asked for, or write the report and say where it is."""
    from medreg.reporting.compare import compare_runs
    from medreg.reporting.formats import to_latex, to_markdown
    from medreg.reporting.results import read_run

    if args.bibtex:
        from medreg.reporting.citations import entries_for

        entries = [entry for folder in args.folder for entry in entries_for(read_run(folder).record)]
        print("".join(dict.fromkeys(entries)).strip())
    elif args.markdown or args.latex:
        write = to_markdown if args.markdown else to_latex
        print("\n".join(write(table) for table in compare_runs(args.folder)))
    else:
        _write(args.folder)
    return 0


def _write(folders: list[str]) -> None:
    from rich.console import Console

    from medreg.reporting.compare import compare_runs
    from medreg.reporting.formats import to_rich
    from medreg.reporting.html import write_report
    from medreg.reporting.terminal import print_summary

    for folder in folders:
        write_report(folder)
        print_summary(folder)
    if len(folders) > 1:
        for table in compare_runs(folders):
            Console().print(to_rich(table))
