"""`medreg evaluate learn2reg`: score displacement fields of any program as the challenge does."""

from __future__ import annotations

import argparse
import atexit
import contextlib
import gc
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medreg.io.outputs import check_file

if TYPE_CHECKING:
    from rich.console import Console

    from medreg.studies.learn2reg.evaluate import Evaluation

OBJECTS = 300_000  # made between two collections of garbage; Python's own number is 700
EPILOG = """\
DIR_OR_ZIP holds disp_F_M or disp_F_f_M_m as .npz or .nii.gz, in voxels, of any edition of the challenge; a zip may hold
folders, and submission.zip/task_03 names one of them. Results of single cases are kept in <output stem>.cases/: the
same command does only what is missing. Beside the metric file a .csv with every value is written.

Examples:
  medreg evaluate learn2reg --fields fields --data data/OASIS -o metrics.json
  medreg evaluate learn2reg --fields submission.zip --data data/LungCT --config LungCT_VAL_evaluation_config.json \\
      -o metrics.json --workers 2
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb with its options."""
    parser = subparsers.add_parser(
        "evaluate",
        help="score displacement fields as Learn2Reg does, with corrected metrics beside",
        description="Official metrics of Learn2Reg (to 1e-6) and corrected ones for any displacement fields.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("benchmark", choices=["learn2reg"], help="whose rules")
    parser.add_argument("--fields", required=True, metavar="DIR_OR_ZIP", help="displacement fields")
    parser.add_argument(
        "--data", required=True, metavar="TASK_FOLDER", help="folder with labelsTr, masksTr, landmarksTr, …"
    )
    parser.add_argument(
        "--config", metavar="JSON", help="official evaluation config; default: made from <Task>_dataset.json"
    )
    parser.add_argument("--task", metavar="NAME", help="task, where the folder holds several")
    parser.add_argument(
        "-o", "--output", default="metrics.json", metavar="JSON", help="default: metrics.json"
    )
    parser.add_argument(
        "--split", default="val", choices=["val", "test", "train"], help="pairs of the descriptor"
    )
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="cases at a time (default 1)")
    parser.add_argument("--fresh", action="store_true", help="score every case again")
    parser.add_argument(
        "--thirty",
        default="2024",
        choices=["2024", "2022"],
        help='rule of the aggregate "30": official code since August 2024 (default) or before',
    )
    parser.add_argument(
        "--strict-json", action="store_true", help="null instead of NaN and Infinity, which JSON forbids"
    )
    parser.add_argument("--method", metavar="NAME", help="name in tables (default: that of --fields)")
    parser.set_defaults(run=run)


@contextlib.contextmanager
def _few_collections() -> Iterator[None]:
    """Collect garbage rarely inside, and not at the end of the process.

    Imports and the first compiled kernel make several hundred thousand objects that stay to the end; looking
    through them again and again takes a quarter of the time of a case.
    """
    before = gc.get_threshold()
    gc.set_threshold(OBJECTS, *before[1:])
    atexit.register(gc.freeze)
    try:
        yield
    finally:
        gc.set_threshold(*before)


@_few_collections()
def run(args: argparse.Namespace) -> int:
    """Score the fields, print the aggregates and what failed; 0 if every case was scored."""
    from rich.console import Console

    from medreg.studies.learn2reg.evaluate import evaluate

    target = Path(args.output)
    for file in (target, target.with_suffix(".csv"), target.with_name(f"{target.stem}.cases.jsonl")):
        check_file(file, "--output", inputs=(args.fields, args.config))
    console = Console()
    evaluation = evaluate(
        args.fields,
        args.data,
        args.config,
        workers=args.workers,
        output=args.output,
        resume=not args.fresh,
        split=args.split,
        thirty=args.thirty,
        method=args.method,
        task=args.task,
        strict=args.strict_json,
        progress=lambda line: console.print(line, highlight=False, markup=False, soft_wrap=True),
    )
    _print(console, evaluation, args.output)
    return 1 if evaluation.failures else 0


def _print(console: Console, evaluation: Evaluation, output: str) -> None:
    """Show aggregates, messages and failures."""
    from rich import box
    from rich.table import Table

    metrics = evaluation.metrics
    official = Table("official", "mean", "std", "30", box=box.SIMPLE)
    for name, entry in metrics.aggregates.items():
        official.add_row(name, *(f"{entry[key]:.5f}" for key in ("mean", "std", "30")))
    ours = Table("corrected", "mean", "std", "worst 30 %", box=box.SIMPLE)
    for name, entry in metrics.medreg["aggregates"].items():
        ours.add_row(name, *(f"{entry[key]:.5f}" for key in ("mean", "std", "worst30")))
    console.print(official, ours)
    for case, lines in evaluation.messages.items():
        for line in lines:
            console.print(f"{case}: {line}", highlight=False, markup=False, soft_wrap=True)
    scored, total = len(metrics.cases), len(evaluation.config.pairs)
    reused = f", {evaluation.reused} of them earlier" if evaluation.reused else ""
    console.print(
        f"{evaluation.config.name}: {scored} of {total} cases scored{reused} → {output}",
        markup=False,
        soft_wrap=True,
    )
    for case, reason in evaluation.failures.items():
        console.print(f"FAILED {case}: {reason}", style="bold red", markup=False, soft_wrap=True)
