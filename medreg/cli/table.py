"""`medreg table`: make a paper's table, or say what is missing."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medreg.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from medreg.reporting.tables import Table
    from medreg.studies.table.estimates import TableResults
    from medreg.studies.table.plan import TablePlan

EPILOG = """\
Examples:
  medreg table                                            papers and tables, and how far each is
  medreg table gradirn/cardiac                            run what is missing, print the table
  medreg table gradirn/cardiac --scale smoke --dry-run    what would run, and for how long
  medreg table gradirn hydra/launcher=joblib hydra.launcher.n_jobs=4
  medreg table gradirn/acdc data.dataset.root=/data/ACDC
  medreg table gradirn/cardiac --committed --check        from kept rows; 1 if a claim's answer changed
The same command goes on where it stopped. Results: outputs/tables/<paper>/<table>/<scale>/ (table.md, table.tex,
table.csv, figure.png, table.html).
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "table",
        help="make a paper's table: run what is missing, compare with what is published",
        description="Run what a table needs and is not there yet, and print it beside the published numbers.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="name or option",
        help="PAPER/TABLE, PAPER or all; options as of train.py",
    )
    parser.add_argument("--scale", choices=("smoke", "laptop", "paper"), default="laptop", help="how large")
    parser.add_argument("--only", metavar="ROW,…", default="", help="these rows, and what they need")
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would run and how long it would take"
    )
    parser.add_argument(
        "--check", action="store_true", help="return 1 if a claim's answer is not as expected"
    )
    parser.add_argument("--refresh", action="store_true", help="run again what other code or data made")
    parser.add_argument("--commit", action="store_true", help="keep the rows beside the table file")
    parser.add_argument("--committed", action="store_true", help="print from the kept rows; runs nothing")
    parser.add_argument("--experiments", type=Path, metavar="DIR", help="your own folder of papers")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """List, or make one or several tables."""
    from rich.console import Console

    from medreg.studies.table.overview import list_tables
    from medreg.studies.table.places import all_tables, find

    console = Console()
    names = [word for word in args.overrides if "=" not in word]
    options = [word for word in args.overrides if "=" in word]
    if not names:
        if options or args.dry_run or args.check:
            raise ConfigError(
                "Which table? Give its name, such as gradirn/cardiac; `medreg table` lists them."
            )
        _show(list_tables(all_tables(args.experiments)), console)
        return 0
    codes = [_one(place, options, args, console) for place in find(names, args.experiments)]
    return max(codes)


def _show(sheet: Table, console: Console) -> None:
    """Print a table as wide as it is; a terminal that is narrower wraps its lines, and no number is cut."""
    from rich.console import Console

    from medreg.reporting.formats import to_rich

    bare = to_rich(sheet, notes=False)
    width = console.measure(bare, options=console.options.update(width=1000)).maximum
    Console(width=max(console.width, width)).print(to_rich(sheet))


def _one(place: Any, options: Sequence[str], args: argparse.Namespace, console: Console) -> int:
    from medreg.studies.table.plan import known_rows, make_plan

    hydra = [word for word in options if word.lstrip("+~").startswith("hydra")]
    plan = make_plan(place, args.scale, [word for word in options if word not in hydra])
    only = known_rows(plan, [name for name in args.only.split(",") if name])
    if args.dry_run:
        return _dry(plan, only, console)
    return _print(plan, _results(plan, only, hydra, args), args, console)


def _dry(plan: TablePlan, only: Sequence[str], console: Console) -> int:
    from medreg.studies.table.overview import dry_run

    jobs, seconds, unknown = dry_run(plan, only)
    _show(jobs, console)
    more = f", and {unknown} units that were never measured" if unknown else ""
    console.print(
        f"Still to do: about {seconds / 60:.1f} minutes, one after the other{more}.", highlight=False
    )
    limit = plan.table.scales[plan.scale].minutes  # type: ignore[index]
    if limit is not None and seconds > 60 * limit:
        console.print(f"[yellow]That is more than the {limit:g} minutes that this scale may take.[/]")
    return 0


def _results(
    plan: TablePlan, only: Sequence[str], hydra: Sequence[str], args: argparse.Namespace
) -> TableResults:
    """Run what is missing and collect, or read what is kept."""
    from medreg.studies.table.estimates import gather

    if args.committed:
        from medreg.studies.table.committed import read_committed

        return read_committed(plan.table, plan.scale, plan.place.committed(plan.scale))
    from medreg.cli.train import job
    from medreg.config.application import launch
    from medreg.studies.table.running import make_table

    def start(words: Sequence[str]) -> int:
        return launch(job, words, complete=list, report=lambda folder: 0)

    make_table(plan, start, only=only, hydra=hydra, refresh=args.refresh)
    return gather(plan)


def _print(plan: TablePlan, results: TableResults, args: argparse.Namespace, console: Console) -> int:
    """Write and print; return 1 for a hole, or with --check for a claim that is answered otherwise than expected."""
    from medreg.studies.table.committed import write_committed
    from medreg.studies.table.report import make_report, write_report

    report = make_report(plan.place, results)
    for sheet in report.sheets:
        _show(sheet, console)
    page = write_report(report, plan.folder)
    if args.commit and not args.committed:
        kept = write_committed(results, plan.place.committed(plan.scale))
        console.print(f"Kept: {kept}", highlight=False, soft_wrap=True)
    console.print(f"{page}", highlight=False, soft_wrap=True)
    differing = report.differing() if args.check else []
    for found in differing:
        expected = found.expected(plan.scale)
        console.print(f"[red]{found.spec.claim}[/]: {found.answer}, expected {expected} ({found.why}).")
    holes = any(s.state in ("failed", "missing") for s in results.standings.values())
    return int(bool(differing) or (holes and not args.only))
