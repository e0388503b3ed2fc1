"""`medreg register`: two image files in, the warped image, the field, metrics and a picture out."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medreg.errors import ConfigError
from medreg.io.atomic import replacing
from medreg.io.outputs import check_folder

if TYPE_CHECKING:
    from rich.console import Console

    from medreg.registering.result import RegistrationResult

# Names of all files that may be written, see `RegistrationResult.save`.
WRITTEN = (
    "warped.nii.gz", "displacement.nii.gz", "metrics.json", "overview.png", "warped_labels.nii.gz",
    "inverse_displacement.nii.gz", "jacobian.nii.gz", "posterior.png", "posterior/mean_displacement.nii.gz",
    "posterior/displacement_sd.nii.gz", "posterior/displacement_sd_norm.nii.gz",
)  # fmt: skip
EPILOG = """\
Files written to the output folder:
  warped.nii.gz           the moving image on the grid of the fixed image
  displacement.nii.gz     ITK/ANTs field (mm, LPS) on the fixed grid, for the original moving file
  metrics.json            overlap, landmarks, folds before and after, with all settings
  overview.png            picture of the pair, the field and its Jacobian
  also warped_labels.nii.gz (with labels), inverse_displacement.nii.gz, jacobian.nii.gz (on demand);
  with --posterior: posterior.png, posterior/ (mean and SD of the field in mm, label probabilities, volumes)

Examples:
  medreg register ed.nii.gz es.nii.gz -o out --fixed-labels ed_gt.nii.gz --moving-labels es_gt.nii.gz
  medreg register ct0.nii.gz ct1.nii.gz -o out --preset lung --fixed-mask l0.nii.gz --moving-mask l1.nii.gz
  medreg register fixed.nii.gz moving.nii.gz -o out --ckpt outputs/gradirn_acdc --refine
  medreg register fixed.nii.gz moving.nii.gz -o out --posterior sgld --moving-labels seg.nii.gz --samples 500
  medreg register f.nii.gz m.nii.gz -o out --ckpt outputs/csain --fixed-labels f_seg.nii.gz --smoothness-label 3=0.5
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb with its options."""
    parser = subparsers.add_parser(
        "register",
        help="register two image files",
        usage="medreg register FIXED MOVING -o DIR [option ...]",
        description="Register a moving image to a fixed image (2-D, 3-D, or a stack of slices).",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("fixed", help="image that stays (.nii, .nii.gz; .mha, .nrrd with SimpleITK)")
    parser.add_argument("moving", help="image that is warped; its grid may differ")
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="folder for the results")
    _add_method(parser.add_argument_group("method"))
    _add_smoothness(parser.add_argument_group("smoothness λ of a conditional model (--ckpt)"))
    _add_inputs(parser.add_argument_group("more about the images"))
    _add_outputs(parser.add_argument_group("more results"))
    parser.set_defaults(run=run)


def _add_method(group: Any) -> None:
    group.add_argument(
        "--preset",
        metavar="NAME",
        help="auto (default), cardiac, brain, lung, multimodal, general, …, or a YAML file",
    )
    group.add_argument("--ckpt", metavar="RUN", help="run folder or checkpoint of a trained model")
    group.add_argument(
        "--refine",
        action=argparse.BooleanOptionalAction,
        help="improve the answer of --ckpt by the preset's optimisation; --no-refine: without the run's own either",
    )
    either = group.add_mutually_exclusive_group()
    either.add_argument(
        "--slices", action="store_const", const="slices", dest="mode", help="each slice by itself, in 2-D"
    )
    either.add_argument(
        "--volume", action="store_const", const="volume", dest="mode", help="as one volume, in 3-D"
    )
    group.add_argument(
        "--initialise", metavar="HOW", help="auto (default, by looking), world (the headers), centre or mass"
    )
    group.add_argument(
        "--affine", action=argparse.BooleanOptionalAction, help="an affine registration first, or none"
    )
    group.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a number of the preset"
    )
    group.add_argument(
        "--posterior",
        nargs="?",
        const="auto",
        metavar="HOW",
        help="also how uncertain the field is: by vi (default), sgld, sghmc, or the samples of --ckpt",
    )
    group.add_argument("--samples", type=int, metavar="N", help="of the posterior, of all chains together")
    group.add_argument("--device", default="cpu", help="cpu (default), cuda, mps")


def _add_smoothness(group: Any) -> None:
    group.add_argument("--smoothness", type=float, metavar="X", help="one λ everywhere")
    group.add_argument(
        "--smoothness-map", metavar="FILE", help="λ of every voxel, on the grid of the fixed image"
    )
    group.add_argument(
        "--smoothness-label",
        action="append",
        default=[],
        metavar="ID=X",
        help="λ where --fixed-labels is ID (0: background); repeatable; others: --smoothness",
    )
    group.add_argument("--smoothness-file", metavar="FILE", help="λ as medreg search-smoothness has found it")


def _add_inputs(group: Any) -> None:
    group.add_argument(
        "--fixed-labels", metavar="FILE", help="label map of the fixed image: Dice and distances"
    )
    group.add_argument("--moving-labels", metavar="FILE", help="label map of the moving image")
    group.add_argument(
        "--label-names", nargs="+", default=[], metavar="NAME=CODE", help="structures, as in LV=3 RV=1"
    )
    group.add_argument("--fixed-mask", metavar="FILE", help="where the fixed image may be compared")
    group.add_argument("--moving-mask", metavar="FILE", help="where the moving image may be compared")
    group.add_argument(
        "--fixed-points", metavar="CSV", help="landmarks, 0-based voxels of the fixed image: TRE"
    )
    group.add_argument("--moving-points", metavar="CSV", help="the same places, voxels of the moving image")


def _add_outputs(group: Any) -> None:
    group.add_argument(
        "--inverse", action="store_true", help="field from moving to fixed space, on the moving grid"
    )
    group.add_argument("--jacobian", action="store_true", help="Jacobian determinant of the map")
    group.add_argument(
        "--keep-samples", type=int, default=0, metavar="N", help="fields of N samples of --posterior"
    )
    group.add_argument(
        "--no-surface", action="store_true", help="leave out surface distances, the slowest metric"
    )
    group.add_argument("--no-overview", action="store_true", help="leave out the picture")


def run(args: argparse.Namespace) -> int:
    """Register, write the files and print what was done."""
    from rich.console import Console

    from medreg.api import register
    from medreg.kernels.allocator import keep_freed_memory
    from medreg.registering.posterior import PosteriorRequest
    from medreg.registering.smoothness import SmoothnessRequest

    read = (args.fixed, args.moving, args.fixed_labels, args.moving_labels, args.fixed_mask, args.moving_mask)
    points = (args.fixed_points, args.moving_points, args.smoothness_map, args.smoothness_file)
    check_folder(args.output, "--output", inputs=(*read, *points), writes=WRITTEN)
    keep_freed_memory()
    console = Console()
    with _progress(console) as report:
        result = register(
            args.fixed,
            args.moving,
            preset=args.preset,
            ckpt=args.ckpt,
            fixed_labels=args.fixed_labels,
            moving_labels=args.moving_labels,
            fixed_mask=args.fixed_mask,
            moving_mask=args.moving_mask,
            fixed_points=args.fixed_points,
            moving_points=args.moving_points,
            label_names=label_codes(args.label_names),
            mode=args.mode,
            initialise=args.initialise,
            affine=args.affine,
            refine=args.refine,
            surface=not args.no_surface,
            overrides=args.set,
            device=args.device,
            posterior=PosteriorRequest(
                args.posterior, args.samples, args.keep_samples, Path(args.output) / "posterior" / "state"
            ),
            smoothness=SmoothnessRequest(
                args.smoothness,
                args.smoothness_map,
                label_smoothness(args.smoothness_label),
                args.smoothness_file,
            ),
            progress=report,
        )
    files = result.save(args.output, inverse=args.inverse, jacobian=args.jacobian)
    if not args.no_overview:
        files += _draw(result, Path(args.output))
    _tell(console, result, files)
    return 0


def label_smoothness(pairs: Sequence[str]) -> dict[int, float]:
    """Return λ by label code of `ID=X` words.

    Raises:
        ConfigError: a word of another form, or a label that is named twice.
    """
    found: dict[int, float] = {}
    for word in pairs:
        code, _, value = word.partition("=")
        try:
            number, smoothness = int(code), float(value)
        except ValueError as error:
            raise ConfigError(
                f"--smoothness-label {word}: write ID=X with the integer of a label and its λ, as in 3=0.5."
            ) from error
        if number in found:
            raise ConfigError(f"--smoothness-label names label {number} twice.")
        found[number] = smoothness
    return found


def label_codes(pairs: Sequence[str]) -> dict[str, int] | None:
    """Return structure names and codes of `NAME=CODE` words; None where there are none.

    Raises:
        ConfigError: a word of another form.
    """
    codes: dict[str, int] = {}
    for word in pairs:
        name, _, code = word.partition("=")
        if not name or not code.lstrip("-").isdigit():
            raise ConfigError(f"--label-names {word}: write NAME=CODE, as in LV=3.")
        codes[name] = int(code)
    return codes or None


@contextmanager
def _progress(console: Console) -> Iterator[Callable[[str, float], None] | None]:
    """Yield a function that moves a progress bar; None where the output is not a terminal."""
    if not console.is_terminal:
        yield None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("reading", total=1.0)

        def report(stage: str, fraction: float) -> None:
            bar.update(task, description=stage, completed=fraction)

        yield report


def _draw(result: RegistrationResult, folder: Path) -> list[Path]:
    figures = {"overview.png": result.overview()}
    if result.posterior is not None:
        figures["posterior.png"] = result.posterior_picture()
    for name, figure in figures.items():
        with replacing(folder / name) as part:
            figure.savefig(part, dpi=110)
    return [folder / name for name in figures]


def _tell(console: Console, result: RegistrationResult, files: Sequence[Path]) -> None:
    """Print method and reason, notes, the table and the files."""
    console.print(f"[bold]{result.method}[/] ({result.reason}), {result.seconds:.1f} s")
    for note in result.notes:
        console.print(f"[yellow]note[/] {note}", highlight=False)
    console.print(metric_table(result))
    for file in files:
        console.print(f"  {file}", highlight=False, soft_wrap=True)


def metric_table(result: RegistrationResult) -> Any:
    """Return a rich table: one row per structure and metric, before and after."""
    from rich.table import Table

    from medreg.registering.measure import OVERLAP

    hidden = ("mag_grad_det_j",)  # in metrics.json only
    before = {(row.structure, row.metric): row.value for row in result.before}
    table = Table()
    table.add_column("structure")
    table.add_column("metric")
    for title in ("before", "after"):
        table.add_column(title, justify="right")
    for row in result.after:
        if row.metric in hidden:
            continue
        value = before.get((row.structure, row.metric), float("nan"))
        known = row.metric in (*OVERLAP, "tre_mm", "tre_max_mm", "image_correlation")
        unit = f" ({row.unit})" if row.unit not in ("1", "mm") else ""
        table.add_row(row.structure, row.metric + unit, f"{value:.3f}" if known else "", f"{row.value:.3f}")
    return table
