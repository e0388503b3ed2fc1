"""`medreg evaluate`: a trained run on several data sets, or displacement fields of any program as Learn2Reg does."""

from __future__ import annotations

import argparse
import atexit
import contextlib
import gc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medreg.errors import ConfigError
from medreg.io.outputs import check_file

if TYPE_CHECKING:
    from rich.console import Console

    from medreg.studies.learn2reg.evaluate import Evaluation

OBJECTS = 300_000  # made between two collections of garbage; Python's own number is 700
LEARN2REG = "learn2reg"
EPILOG = """\
A RUN is tested on every data set that data= names, each in a run folder of its own. The table that ends it has a row a
data set and a column a structure; it is kept as table.md, table.tex and table.csv. Other options are those of train.py;
one that varies makes more rows, NAME:option=value holds for one data set. The same command goes on where it stopped.

learn2reg: DIR_OR_ZIP holds disp_F_M or disp_F_f_M_m as .npz or .nii.gz, in voxels, of any edition of the challenge; a
zip may hold folders, and submission.zip/task_03 names one of them. Results of single cases are kept in
<output stem>.cases/: the same command does only what is missing. Beside the metric file a .csv with every value is
written.

Examples:
  medreg evaluate outputs/RUN data=acdc_segmentation,acdc_corrupted,mnms_segmentation
  medreg evaluate outputs/RUN data=acdc_corrupted data.corruption.strength=0,0.5,1,2 --metric dice --metric hd95_mm
  medreg evaluate outputs/RUN data=acdc_segmentation,mnms_segmentation acdc_segmentation:data.split.published=advchain
  medreg evaluate learn2reg --fields fields --data data/OASIS -o metrics.json
  medreg evaluate learn2reg --fields submission.zip --data data/LungCT --config LungCT_VAL_evaluation_config.json \\
      -o metrics.json --workers 2
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb with its options."""
    parser = subparsers.add_parser(
        "evaluate",
        help="test a run on several data sets with one table, or score displacement fields as Learn2Reg does",
        description="A trained run on several data sets; or official metrics of Learn2Reg (to 1e-6) and corrected ones "
        "for any displacement fields.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", metavar="RUN or learn2reg", help="run folder or checkpoint, or whose rules")
    parser.add_argument(
        "overrides", nargs="*", metavar="option", help="of a RUN: data=A,B and others of train.py"
    )
    parser.add_argument(
        "--metric",
        action="append",
        metavar="NAME",
        help="of a RUN: metric of the table (default: the task's)",
    )
    _add_learn2reg(parser)
    parser.set_defaults(run=run)


def _add_learn2reg(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--fields", metavar="DIR_OR_ZIP", help="displacement fields")
    parser.add_argument("--data", metavar="TASK_FOLDER", help="folder with labelsTr, masksTr, landmarksTr, …")
    parser.add_argument(
        "--config", metavar="JSON", help="official evaluation config; default: made from <Task>_dataset.json"
    )
    parser.add_argument("--task", metavar="NAME", help="task, where the folder holds several")
    parser.add_argument(
        "-o", "--output", metavar="PATH", help="metrics.json of learn2reg, or folder of the tables of a RUN"
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


def run(args: argparse.Namespace) -> int:
    """Test a run, or score fields; 0 if every data set or case has its numbers."""
    return _score_fields(args) if args.what == LEARN2REG else _test_run(args)


def _test_run(args: argparse.Namespace) -> int:
    """Test a run on several data sets and print the table."""
    from rich.console import Console

    from medreg.cli.train import job
    from medreg.config.application import launch
    from medreg.reporting.formats import to_rich
    from medreg.reporting.terminal import wide_enough
    from medreg.studies.elsewhere.running import evaluate_elsewhere

    if args.fields or args.data:
        raise ConfigError(
            "--fields and --data are those of `medreg evaluate learn2reg`; a run takes data=NAME,NAME."
        )

    def start(words: Sequence[str]) -> int:
        return launch(job, words, complete=list, report=lambda folder: 0)

    output = None if args.output is None else Path(args.output)
    found = evaluate_elsewhere(
        Path(args.what), args.overrides, start, metrics=args.metric or (), output=output
    )
    for sheet in map(to_rich, found.sheets):
        wide_enough([sheet]).print(sheet)
    Console().print(f"tables  {found.folder}", highlight=False, markup=False, soft_wrap=True)
    return int(not found.finished)


@_few_collections()
def _score_fields(args: argparse.Namespace) -> int:
    """Score the fields, print the aggregates and what failed; 0 if every case was scored."""
    from rich.console import Console

    from medreg.studies.learn2reg.evaluate import evaluate

    if not args.fields or not args.data or args.overrides or args.metric:
        raise ConfigError(
            "medreg evaluate learn2reg needs --fields DIR_OR_ZIP and --data TASK_FOLDER, and takes no option=value."
        )
    output = args.output or "metrics.json"
    target = Path(output)
    for file in (target, target.with_suffix(".csv"), target.with_name(f"{target.stem}.cases.jsonl")):
        check_file(file, "--output", inputs=(args.fields, args.config))
    console = Console()
    evaluation = evaluate(
        args.fields,
        args.data,
        args.config,
        workers=args.workers,
        output=output,
        resume=not args.fresh,
        split=args.split,
        thirty=args.thirty,
        method=args.method,
        task=args.task,
        strict=args.strict_json,
        progress=lambda line: console.print(line, highlight=False, markup=False, soft_wrap=True),
    )
    _print(console, evaluation, output)
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
