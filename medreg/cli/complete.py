"""`medreg complete`: the whole cycle of a heart of which end-diastole is known, by a trained run."""

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
    whole_number,
)

EPILOG = """\
The file may have any voxel size and orientation; its codes are those of the run unless --labels says others. Results
lie on its voxels, with its codes. completion.nii.gz is the heart of the mean code; samples are other cycles that fit,
and spread.csv says how far their volumes differ.

Examples:
  medreg complete outputs/cheart ed.nii.gz --age 60 --sex F --height 165 --weight 70 --sbp 130 -o completed
  medreg complete outputs/cheart patient_gt.nii.gz --labels LV=3,MYO=2,RV=1 --sex M --samples 20 -o completed
  medreg complete outputs/cheart cine.nii.gz --frame 0 -o completed --mesh
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb with its options."""
    parser = subparsers.add_parser(
        "complete",
        help="make the whole cycle of a heart from its end-diastole",
        usage="medreg complete RUN ED.nii.gz [--age YEARS] [condition ...] [--samples N] -o DIR [option ...]",
        description="Make the whole cycle of a heart from a label map of end-diastole (ED), with a trained run.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("trained", metavar="RUN", help="run folder or checkpoint of a model of hearts")
    parser.add_argument("file", metavar="ED", help="label map: .nii, .nii.gz; .mha, .nrrd with SimpleITK")
    add_conditions(parser)
    parser.add_argument(
        "--samples", default="0", metavar="N", help="cycles drawn beside the mean (default 0)"
    )
    parser.add_argument("--frame", metavar="N", help="of a file with several: which is ED, from 0")
    add_source(parser)
    add_output(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Complete the heart, write the folder and print measures."""
    asked = conditions_of(args)
    samples, seed = whole_number("--samples", args.samples), whole_number("--seed", args.seed)
    frame = None if args.frame is None else whole_number("--frame", args.frame)
    from medreg.generating.completing import plan_completion
    from medreg.generating.opened import OpenedModel

    labels = labels_of(args)
    opened = OpenedModel.open(args.trained, ckpt=args.ckpt, device=args.device)
    options = {"labels": labels, "frame": frame, "grid": args.grid}
    return make(plan_completion(opened, args.file, asked, samples=samples, seed=seed, **options), args)
