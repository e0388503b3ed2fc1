"""`medreg age`: a heart at other ages, by a trained run."""

from __future__ import annotations

import argparse
from typing import Any

from medreg.cli.hearts import (
    add_conditions,
    add_output,
    add_source,
    conditions_of,
    labels_of,
    make,
    number,
    whole_number,
)

EPILOG = """\
--from is the age of the person now, --to the last one; ages may fall as well. A model of ED and ES (model=ageheart)
wants both: two files, ED first, a file of two frames, or one of a cycle from ED. CHeart looks at ED alone, keeps its
code and changes the age. The first heart is the given one as the model makes it; changes.csv counts from there.

Examples:
  medreg age outputs/ageheart ed.nii.gz es.nii.gz --from 45 --to 70 --sex M -o older
  medreg age outputs/ageheart heart.nii.gz --from 45 --to 70 --steps 2 --sex F -o older --labels LV=3,MYO=2,RV=1
  medreg age outputs/cheart ed.nii.gz --from 70 --to 45 --sex M --height 175 --weight 80 --sbp 140 -o younger
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb with its options."""
    parser = subparsers.add_parser(
        "age",
        help="make a heart older or younger",
        usage="medreg age RUN HEART [ES] --from YEARS --to YEARS [--sex F|M] [--steps N] -o DIR [option ...]",
        description="Make a heart older or younger with a trained run.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("trained", metavar="RUN", help="run folder or checkpoint of a model of hearts")
    parser.add_argument(
        "files", nargs="+", metavar="HEART", help="label map of ED and ES, or one file of each"
    )
    parser.add_argument("--from", dest="start", required=True, metavar="YEARS", help="age of the person now")
    parser.add_argument("--to", dest="end", required=True, metavar="YEARS", help="last age")
    parser.add_argument("--steps", default="6", metavar="N", help="hearts, with both ends (default 6)")
    add_conditions(parser, age=False)
    add_source(parser)
    add_output(parser, seed=False)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Age the heart, write the folder and print measures."""
    asked = conditions_of(args)
    ages = (number("--from", args.start), number("--to", args.end), whole_number("--steps", args.steps))
    from medreg.generating.ageing import plan_ageing
    from medreg.generating.opened import OpenedModel

    labels = labels_of(args)
    opened = OpenedModel.open(args.trained, ckpt=args.ckpt, device=args.device)
    return make(plan_ageing(opened, args.files, asked, ages=ages, labels=labels, grid=args.grid), args)
