"""`medreg segment`: image files in, label maps by a trained run out."""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medreg.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from medreg.segmenting.files import Errand
    from medreg.segmenting.result import Segmentation
    from medreg.segmenting.run import SegmentationRun

COLUMNS = ("image", "frame", "structure", "metric", "value", "unit")
SHOWN = ("dice", "hd95_mm", "hd_mm", "assd_mm", "volume_ml", "volume_error_ml")
EPILOG = """\
Images are prepared as in the run's training, slice by slice or in 3-D as the run works. The label map has the codes of
its data set, the voxels of the image and its header. Voxels beyond the crop of the run are background, which is told.

Examples:
  medreg segment outputs/unet_acdc scan.nii.gz -o scan_seg.nii.gz
  medreg segment outputs/unet_acdc images/*.nii.gz -o segmented
  medreg segment outputs/unet_acdc cine.nii.gz -o cine_seg.nii.gz --frame all
  medreg segment outputs/unet_acdc ed.nii.gz -o ed_seg.nii.gz --labels ed_gt.nii.gz --probabilities
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb with its options."""
    parser = subparsers.add_parser(
        "segment",
        help="segment image files with a trained run",
        usage="medreg segment RUN IMAGE [IMAGE ...] -o FILE_OR_DIR [option ...]",
        description="Segment images with a trained run; results lie on the voxels of each image.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("trained", metavar="RUN", help="run folder or checkpoint of a segmentation")
    parser.add_argument(
        "images", nargs="+", metavar="IMAGE", help=".nii, .nii.gz; .mha, .nrrd with SimpleITK"
    )
    parser.add_argument(
        "-o", "--output", required=True, metavar="FILE_OR_DIR", help=".nii.gz of one image; folder of several"
    )
    parser.add_argument(
        "--labels",
        nargs="+",
        default=[],
        metavar="FILE",
        help="true labels, in the order of the images: Dice, HD95, ASSD and volumes, also as CSV beside the results",
    )
    parser.add_argument("--frame", metavar="N", help="of files with several: 0, 1, …, or all of them")
    parser.add_argument(
        "--probabilities", action="store_true", help="also a map of the probability of every class"
    )
    parser.add_argument("--ckpt", default="best", choices=["best", "last"], help="of the run (default best)")
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda, mps")
    parser.add_argument("--overwrite", action="store_true", help="replace results that are there already")
    parser.add_argument("--quiet", action="store_true", help="say nothing but what went wrong")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Segment every image, write the files and print what was found; 0 if every image was segmented."""
    from rich.console import Console

    from medreg.errors import MedregError
    from medreg.segmenting.files import plan_files
    from medreg.segmenting.run import SegmentationRun

    asked = {"labels": args.labels, "frame": frame_of(args.frame), "overwrite": args.overwrite}
    plan_files(args.images, args.output, **asked)
    opened = SegmentationRun.open(args.trained, ckpt=args.ckpt, device=args.device)
    structures = tuple(opened.labels) if args.probabilities else ()
    errands, table = plan_files(args.images, args.output, **asked, structures=structures)
    console, errors = Console(quiet=args.quiet), Console(stderr=True)
    rows: list[dict[str, Any]] = []
    failed = 0
    for errand in errands:
        try:
            found = _segment(opened, errand, args)
        except MedregError as error:
            if len(errands) == 1:
                raise
            failed += 1
            errors.print(f"FAILED {error}", style="bold red", markup=False, soft_wrap=True)
            continue
        _tell(console, errand, found)
        rows += [_record(errand, one, row) for one in found for row in one.rows]
        if args.labels:
            _write(table, rows)
    if args.labels and rows:
        console.print(f"  {table}", highlight=False, soft_wrap=True)
    return 1 if failed else 0


def frame_of(word: str | None) -> Any:
    """Return the frame that a word means: a number, "all", or None.

    Raises:
        ConfigError: another word.
    """
    if word is None or word == "all":
        return word
    if not (word.isascii() and word.isdigit()):
        raise ConfigError(f"--frame {word}: write a number from 0, or all.")
    return int(word)


def _segment(opened: SegmentationRun, errand: Errand, args: argparse.Namespace) -> list[Segmentation]:
    """Segment the frames of one file and write them."""
    from medreg.segmenting.result import save

    options = {"labels": errand.labels, "probabilities": args.probabilities}
    found = [opened.segment(errand.image, frame=frame, **options) for frame in errand.frames]
    save(found, errand.target, overwrite=args.overwrite)
    return found


def _record(errand: Errand, found: Segmentation, row: Any) -> dict[str, Any]:
    """A row of the CSV."""
    frame = "" if found.frame is None else found.frame
    values = (errand.image, frame, row.structure, row.metric, row.value, row.unit)
    return dict(zip(COLUMNS, values, strict=True))


def _write(file: Path, rows: Sequence[dict[str, Any]]) -> None:
    from medreg.io.atomic import write_text

    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(file, buffer.getvalue())


def _tell(console: Console, errand: Errand, found: Sequence[Segmentation]) -> None:
    """Print the file, notes and the numbers of an image."""
    seconds = sum(one.seconds for one in found)
    many = f", {len(found)} frames" if len(found) > 1 else ""
    console.print(
        f"{errand.image} → {errand.target} ({seconds:.1f} s{many})", highlight=False, soft_wrap=True
    )
    for note in dict.fromkeys(note for one in found for note in one.notes):
        console.print(f"[yellow]note[/] {note}", highlight=False, soft_wrap=True)
    for one in found:
        console.print(metric_table(one))


def metric_table(found: Segmentation) -> Any:
    """Return a rich table: one row per structure, one column per metric."""
    from rich.table import Table

    values = {(row.structure, row.metric): row for row in found.rows}
    metrics = [name for name in SHOWN if any(metric == name for _, metric in values)]
    table = Table(title=None if found.frame is None else f"frame {found.frame}")
    table.add_column("structure")
    for name in metrics:
        unit = next(row.unit for (_, metric), row in values.items() if metric == name)
        label = name.removesuffix(f"_{unit}").replace("_", " ")
        table.add_column(label + (f" ({unit})" if unit != "1" else ""), justify="right")
    for structure in (*found.structures, "mean"):
        cells = [values.get((structure, name)) for name in metrics]
        if any(cells):
            table.add_row(structure, *("" if row is None else f"{row.value:.3f}" for row in cells))
    return table
