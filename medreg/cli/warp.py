"""`medreg warp`: apply a displacement field to an image, a label map or points."""

from __future__ import annotations

import argparse
from typing import Any

from medreg.errors import ConfigError
from medreg.io.outputs import check_file

EPILOG = """\
A field warps moving images and labels into fixed space, and moves points of fixed space to moving space.
For the other direction use the inverse field (medreg register --inverse).

Examples:
  medreg warp --field out/displacement.nii.gz --image moving.nii.gz -o warped.nii.gz
  medreg warp --field out/displacement.nii.gz --labels moving_seg.nii.gz -o warped_seg.nii.gz
  medreg warp --field out/displacement.nii.gz --points fixed.csv --moving moving.nii.gz -o moved.csv
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb with its options."""
    parser = subparsers.add_parser(
        "warp",
        help="apply a displacement field to an image, labels or points",
        description="Apply a displacement field or transform, of this or another tool.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--field",
        required=True,
        metavar="FILE",
        help="ITK, NiftyReg or SPM field; with --reference also a Learn2Reg field or a transform of ITK",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--image", metavar="FILE", help="moving image, linear interpolation")
    what.add_argument("--labels", metavar="FILE", help="moving label map, nearest neighbour")
    what.add_argument("--points", metavar="CSV", help="points of fixed space, one per row")
    parser.add_argument(
        "-o", "--output", required=True, metavar="FILE", help="result: .nii.gz, or .csv for points"
    )
    parser.add_argument("--reference", metavar="FIXED", help="fixed image; default: the grid of the field")
    parser.add_argument(
        "--moving", metavar="FILE", help="with --points: image in whose voxels the result is given"
    )
    parser.add_argument("--space", default="voxel", help="of points: voxel (default), ras or lps (mm)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Apply the field, write the result and say in which direction it went."""
    from rich.console import Console

    from medreg.api import warp_image, warp_labels, warp_points
    from medreg.io.image import NIFTI_SUFFIXES

    read = (args.field, args.image, args.labels, args.points, args.reference, args.moving)
    check_file(args.output, "--output", inputs=read, suffixes=NIFTI_SUFFIXES if args.points is None else ())
    console = Console()
    if args.points is None and args.moving is not None:
        raise ConfigError("--moving is for --points; the moving image is what --image or --labels names.")
    if args.points is not None:
        found = warp_points(
            args.field,
            args.points,
            space=args.space,
            reference=args.reference,
            moving=args.moving,
            output=args.output,
        )
        grid = "" if args.space != "voxel" else f" of {args.moving or 'the fixed grid'}"
        console.print(
            f"{len(found)} points moved from fixed to moving space ({args.space}{grid}) → {args.output}"
        )
        return 0
    warped = (
        warp_image(args.field, args.image, reference=args.reference, output=args.output)
        if args.labels is None
        else warp_labels(args.field, args.labels, reference=args.reference, output=args.output)
    )
    for note in warped.notes:
        console.print(f"[yellow]note[/] {note}", highlight=False)
    shape = "×".join(map(str, warped.shape))
    console.print(f"{args.image or args.labels} warped from moving into fixed space, {shape} → {args.output}")
    return 0
