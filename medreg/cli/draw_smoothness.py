"""`medreg draw-smoothness`: what λ does to the answers of a conditional model, as figures and tables."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from medreg.errors import ConfigError
from medreg.io.outputs import check_folder

EPILOG = """\
Files written to the run folder:
  smoothness/curve.csv, figures/smoothness_curve.png               Dice against smoothness over λ
  smoothness/fields.csv, figures/smoothness_fields.png             fields of one case for several λ
  smoothness/two_regions.csv, figures/smoothness_two_regions.png   a map with two λ: map, field, local smoothness

Example:
  medreg draw-smoothness outputs/csain --smoothness 0 0.1 0.2 0.4 0.6 0.8 1 --against outputs/fixed_* --two 0.05 1
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb with its options."""
    parser = subparsers.add_parser(
        "draw-smoothness",
        help="figures of a conditional model over λ",
        description="Draw fields over λ, accuracy against smoothness, and a map of two regions.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run_folder", metavar="RUN", help="run folder of a conditional model")
    parser.add_argument(
        "--smoothness",
        nargs="+",
        type=float,
        default=[0.0, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0],
        metavar="X",
        help="λ to draw",
    )
    parser.add_argument("--against", nargs="+", default=[], metavar="RUN", help="runs trained for one λ each")
    parser.add_argument("--split", choices=("val", "test"), default="test", help="cases (test)")
    parser.add_argument("--cases", type=int, metavar="N", help="at most so many, spread over the split")
    parser.add_argument("--case", type=int, default=0, metavar="N", help="which of them is drawn (0)")
    parser.add_argument(
        "--two",
        nargs=2,
        type=float,
        default=[0.05, 1.0],
        metavar=("LOW", "HIGH"),
        help="λ of the map (0.05 1)",
    )
    parser.add_argument(
        "--region", metavar="CODES", help="labels of region A, as in 3,22 (default: half the image)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compute, draw, and name the files."""
    from medreg.studies.smoothness.drawing import draw_curve, draw_fields, draw_two_regions
    from medreg.studies.smoothness.run_cases import load_cases, load_run

    codes = None if args.region is None else label_list(args.region)
    check_folder(args.run_folder, "RUN")
    trained = load_run(Path(args.run_folder))
    others = [load_run(Path(folder)) for folder in args.against]
    cases = load_cases(trained, args.split, limit=args.cases)
    if not 0 <= args.case < len(cases.batches):
        raise ConfigError(f"--case {args.case}: there are cases 0 to {len(cases.batches) - 1}.")
    files = draw_curve(trained, args.smoothness, others, cases)
    files += draw_fields(trained, args.smoothness, cases, args.case)
    if getattr(trained.model, "takes_maps", False):
        low, high = args.two
        files += draw_two_regions(trained, cases, args.case, codes=codes, low=low, high=high)
    for file in files:
        print(file)
    return 0


def label_list(text: str) -> list[int]:
    """Return the codes of a list such as 3,22.

    Raises:
        ConfigError: something that is no integer.
    """
    words = text.split(",")
    if not all(word.strip().isdigit() for word in words):
        raise ConfigError(f"--region {text}: write label codes with commas between, as in 3,22.")
    return [int(word) for word in words]
