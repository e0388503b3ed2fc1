"""`medreg capture-range`: from how far away similarity measures lead an affine registration home."""

from __future__ import annotations

import argparse
from typing import Any

EPILOG = """\
Examples:
  medreg capture-range                                         synthetic T1/T2 brains, five measures
  medreg capture-range measure=[mad] ckpt=outputs/mad label=seed1
  medreg capture-range 'pairs=["data=my_pairs"]' rate=0.02 unit=mm out=outputs/mine
  medreg capture-range only=report                             tables and figures of what is there
The same command goes on where it stopped; measures of several commands with one `out` share tables and figures.
Results: <out>/report.md, tables/, figures/, starts.csv, landscapes.csv, rates.csv.
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "capture-range",
        help="compare similarity measures by capture range and landscape",
        description="Move aligned pairs away by known affine maps, register them back by each measure, and report.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "overrides", nargs="*", help="measure=[NAME,…] option=value, see configs/capture.yaml"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run what is missing and print the path of the report."""
    from rich.console import Console

    from medreg.config.command import CAPTURE_RANGE
    from medreg.studies.capture_range.job import run_capture

    console = Console()
    page = run_capture(CAPTURE_RANGE.compose(args.overrides), console=console)
    console.print(f"{page}", highlight=False, soft_wrap=True)
    return 0
