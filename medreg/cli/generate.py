"""`medreg generate`: hearts of new people with given conditions, by a trained run."""

from __future__ import annotations

import argparse
from typing import Any

from medreg.cli.hearts import add_conditions, add_output, conditions_of, make, whole_number

EPILOG = """\
Each heart is a 4-D label map (X, Y, Z, time) on the grid of the model. The same seed gives the same hearts, and more
hearts begin with the same ones. A condition beyond what training has seen is told; one that is not given is told to
the model as unknown.

Examples:
  medreg generate outputs/cheart --age 60 --sex F --height 165 --weight 70 --sbp 150 -n 20 -o women_of_60
  medreg generate outputs/cheart --age 60 --sex M -n 3 -o men --mesh --seed 7
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb with its options."""
    parser = subparsers.add_parser(
        "generate",
        help="make hearts of people with given conditions",
        usage="medreg generate RUN [--age YEARS] [--sex F|M] [condition ...] -n N -o DIR [option ...]",
        description="Make beating hearts of new people with a trained run.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("trained", metavar="RUN", help="run folder or checkpoint of a model of hearts")
    add_conditions(parser)
    parser.add_argument("-n", "--number", default="1", metavar="N", help="how many hearts (default 1)")
    add_output(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Make the hearts, write the folder and print their measures."""
    asked = conditions_of(args)
    n, seed = whole_number("-n", args.number), whole_number("--seed", args.seed)
    from medreg.generating.drawn import plan_generation
    from medreg.generating.opened import OpenedModel

    opened = OpenedModel.open(args.trained, ckpt=args.ckpt, device=args.device)
    return make(plan_generation(opened, asked, n=n, seed=seed), args)
