"""`medreg benchmark`: cases × methods under one protocol, ranked and reported."""

from __future__ import annotations

import argparse
from typing import Any

EPILOG = """\
Examples:
  medreg benchmark                                               synthetic brains, nothing to download
  medreg benchmark benchmark=learn2reg_hippocampus data.root=/data/HippocampusMR data.pairs=all
  medreg benchmark method=[identity,optimise,greedy] runs=[outputs/my_run] workers=2
  medreg benchmark --environments                                how to install every method
The same command goes on where it stopped. Results: <out>/report.html, tables/, figures/, and for every method
fields/, runtime.csv, metrics.json.
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "benchmark",
        help="compare registration methods on a task",
        description="Run methods on the pairs of a task, evaluate their fields as Learn2Reg does, rank and report.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("overrides", nargs="*", help="benchmark=NAME method=[NAME,…] option=value")
    parser.add_argument(
        "--environments", action="store_true", help="print how to install every method, and stop"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run, or print the recipes."""
    from rich.console import Console

    from medreg.config.command import BENCHMARK
    from medreg.studies.benchmark.job import recipes, run_benchmark

    console = Console()
    if args.environments:
        for name, recipe in recipes(BENCHMARK.options("method")).items():
            console.print(f"[bold]{name}[/]", highlight=False)
            console.print(recipe, highlight=False, markup=False, soft_wrap=True)
        return 0
    path = run_benchmark(BENCHMARK.compose(args.overrides), console=console)
    console.print(f"{path}", highlight=False, soft_wrap=True)
    return 0
