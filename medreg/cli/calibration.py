"""`medreg calibration`: is the uncertainty of some runs true?"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from medreg.io.outputs import check_folder

EPILOG = """examples:
  medreg calibration outputs/vi outputs/sgld -o outputs/calibration
  medreg calibration VI=outputs/a SGLD=outputs/b --validation VI=outputs/a_val SGLD=outputs/b_val -o outputs/mended
Results: <OUTPUT>/report.md, figures.csv, differences.csv, curves.csv, figures/.
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "calibration",
        help="compare methods by how true their uncertainty is",
        description="Pool the calibration of runs over their cases: coverage, ranks, scores, sparsification and label "
        "probabilities, each with its standard error over cases, in tables and figures.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="run folder with calibration.csv; NAME=FOLDER names it"
    )
    parser.add_argument("-o", "--output", metavar="FOLDER", help="write tables, curves and figures there")
    parser.add_argument(
        "--validation",
        nargs="+",
        default=[],
        metavar="RUN",
        help="runs of the same methods on other cases: recalibrate on them, shown beside the raw figures",
    )
    parser.add_argument("--common", action="store_true", help="only the cases that all methods have")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap over cases (0)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compare, print, and write what was asked for."""
    from medreg.reporting.formats import to_rich
    from medreg.reporting.terminal import wide_enough
    from medreg.studies.uncertainty.report import compare_calibration, sentences, tables_of, write_comparison

    if args.output is not None:
        check_folder(args.output, "--output")
    found = compare_calibration(args.runs, validation=args.validation, common=args.common, seed=args.seed)
    shown = [to_rich(table) for table in tables_of(found)]
    console = wide_enough(shown)
    for table in shown:
        console.print(table)
    for sentence in sentences(found):
        console.print(sentence, highlight=False, markup=False)
    if args.output is not None:
        console.print(f"{write_comparison(found, Path(args.output))}", highlight=False, soft_wrap=True)
    return 0
