"""`medreg submit`: make the fields and the zip of a Learn2Reg submission, check one, or write a container recipe."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medreg.errors import ConfigError
from medreg.io.outputs import check_folder

if TYPE_CHECKING:
    from rich.console import Console

    from medreg.data.datasets.learn2reg_config import EvaluationConfig
    from medreg.studies.learn2reg.submission import FieldMaker
    from medreg.studies.learn2reg.submission_format import Form

EPILOG = """\
A zip holds one folder with disp_F_M.nii.gz: (X, Y, Z, 3), float32, voxels, array index to array index. The fields are
kept beside it in a folder of the same name, with runtime.csv: the same command goes on where it was stopped. An output
without the ending .zip is that folder itself. Nothing is overwritten.

Examples:
  medreg submit --run outputs/RUN --task OASIS --data data/OASIS -o submission.zip
  medreg submit --fields benchmark/ours/fields --task HippocampusMR -o submission.zip --naming both
  medreg submit --check submission.zip --task OASIS
  medreg submit --container container --run outputs/RUN --task OASIS
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb with its options."""
    parser = subparsers.add_parser(
        "submit",
        help="make and check a Learn2Reg submission, or a container of a run",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_argument_group("what")
    what.add_argument(
        "--run", dest="source", metavar="RUN", help="run folder of python train.py, or a checkpoint"
    )
    what.add_argument("--fields", metavar="DIR_OR_ZIP", help="fields that exist already")
    what.add_argument("--check", metavar="DIR_OR_ZIP", help="only check a submission of whomever")
    what.add_argument("--container", metavar="DIR", help="write a container recipe of --run")
    what.add_argument("-o", "--output", metavar="ZIP", help="zip to write, or a folder for the fields alone")
    where = parser.add_argument_group("task")
    where.add_argument("--task", required=True, help="name of the task, such as OASIS")
    where.add_argument("--data", metavar="FOLDER", help="folder of the task (default: that of the run)")
    where.add_argument(
        "--config", metavar="JSON", help="official evaluation config instead of the descriptor"
    )
    where.add_argument(
        "--split", default="val", choices=("val", "test", "auto"), help="auto: test pairs if there are any"
    )
    form = parser.add_argument_group("form")
    form.add_argument(
        "--naming", choices=("short", "long", "both"), help="default: what the challenge site wants"
    )
    form.add_argument("--edition", type=int, default=2022, help="2022 (and later), 2021 or 2020")
    form.add_argument("--dtype", default="float32", help="float32 (.nii.gz) or float16 (.npz)")
    form.add_argument(
        "--names", default="any", choices=("any", "2022", "2025"), help="check: whose rule of file names"
    )
    how = parser.add_argument_group("how")
    how.add_argument("--ckpt", default="best", choices=("best", "last"), help="weights of the run (best)")
    how.add_argument("--device", default="cpu", help="cpu (default), cuda, mps")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Do what was asked for; 0 if the submission is complete and passed the check."""
    from rich.console import Console

    console = Console(soft_wrap=True, highlight=False)
    given = [name for name in ("check", "container", "fields") if getattr(args, name) is not None]
    if len(given) > 1 or (not given and args.source is None):
        raise ConfigError("Give one of --run, --fields, --check and --container (which needs --run too).")
    if args.check is not None:
        return _check(args, console, Path(args.check), _config(args, None))
    if args.container is not None:
        return _container(args, console)
    if args.fields is not None and args.source is not None:
        raise ConfigError("Give --run or --fields, not both: fields come from one of them.")
    if args.output is None:
        raise ConfigError("Say where the submission goes: -o submission.zip.")
    return _make(args, console)


def _form(args: argparse.Namespace) -> Form:
    from medreg.studies.learn2reg.submission_format import Form

    return Form(args.task, args.edition, args.dtype, args.naming)


def _config(args: argparse.Namespace, data: Path | None) -> EvaluationConfig:
    """Grid and pairs: of a config, of the descriptor beside the data, or of the public task."""
    from medreg.data.datasets.learn2reg_config import read_config
    from medreg.studies.learn2reg.config import config_from_descriptor
    from medreg.studies.learn2reg.submission_tasks import public_config
    from medreg.studies.learn2reg.truth import TaskFolder

    if args.config is not None:
        return read_config(args.config)
    folder = data or (None if args.data is None else Path(args.data))
    if folder is None:
        return public_config(args.task, split="val" if args.split == "auto" else args.split)
    descriptor = TaskFolder(folder, task=args.task).descriptor()
    if descriptor.name != args.task:
        raise ConfigError(f"{folder} holds the task {descriptor.name}, but --task is {args.task}.")
    split = args.split
    if split == "auto":
        split = "test" if any(pair.kind == "test" for pair in descriptor.pairs) else "val"
    return config_from_descriptor(descriptor, split=split, labels=(), points=())


def _check(args: argparse.Namespace, console: Console, path: Path, config: EvaluationConfig) -> int:
    from medreg.studies.learn2reg.submission_check import check_submission

    found = check_submission(path, config, _form(args), rule=args.names)
    for text in found.errors:
        console.print(f"ERROR {text}", style="bold red", markup=False)
    for text in found.warnings:
        console.print(f"warning: {text}", style="yellow", markup=False)
    state = "ready to be sent" if found.passed else f"{len(found.errors)} errors"
    console.print(
        f"{path}: {found.fields} of {found.pairs} fields of {config.name}, {found.megabytes:.1f} MB: {state}",
        markup=False,
    )
    return 0 if found.passed else 1


def _make(args: argparse.Namespace, console: Console) -> int:
    from medreg.studies.learn2reg.fields import FieldSource
    from medreg.studies.learn2reg.submission import FilesAsFields, make_fields, pack

    form, target = _form(args), Path(args.output)
    zipped = target.suffix == ".zip"
    if not zipped:
        check_folder(target, "--output")
    if zipped and target.exists():
        raise ConfigError(
            f"{target} exists already and is never overwritten; choose another name or remove it."
        )
    folder = target.with_suffix("") if zipped else target
    check_folder(folder, "--output")
    if (
        args.fields is not None
        and folder.exists()
        and Path(args.fields).exists()
        and folder.samefile(args.fields)
    ):
        raise ConfigError(f"--output: the fields would be written into {args.fields}, where they come from.")
    maker: FieldMaker
    if args.fields is not None:
        config = _config(args, None)
        maker = FilesAsFields(FieldSource(args.fields), config.shape)
    else:
        maker, config = _run_maker(args)

    def tell(case: str, done: int, of: int) -> None:
        console.print(f"{done}/{of} {case}", markup=False)

    result = make_fields(maker, config, form, folder, tell=tell)
    console.print(f"{folder}: {result.made} fields made, {result.found} found", markup=False)
    for case, reason in result.failures.items():
        console.print(f"FAILED {case}: {reason}", style="bold red", markup=False)
    if result.failures:
        console.print("No zip was written; the same command tries the failed cases again.")
        return 1
    if not zipped:
        return 0
    pack(folder, target, config, form)
    return _check(args, console, target, config)


def _run_maker(args: argparse.Namespace) -> tuple[FieldMaker, EvaluationConfig]:
    from medreg.runs.trained import TrainedRun
    from medreg.studies.learn2reg.run_fields import RunAsFields, check_run, data_root
    from medreg.studies.learn2reg.truth import TaskFolder

    run = TrainedRun.open(args.source, args.ckpt, device=args.device)
    check_run(run)
    data = Path(args.data) if args.data is not None else data_root(run)
    config = _config(args, data)
    return RunAsFields(run, TaskFolder(data, task=args.task)), config


def _container(args: argparse.Namespace, console: Console) -> int:
    from medreg.runs.trained import TrainedRun
    from medreg.studies.learn2reg.container import Recipe, write_container
    from medreg.studies.learn2reg.run_fields import export_run

    if args.source is None:
        raise ConfigError("--container needs --run, the run whose model goes into the container.")
    check_folder(args.container, "--container")
    run = TrainedRun.open(args.source, args.ckpt)
    overrides = run.record.get("overrides") or []
    recipe = Recipe(args.task, run.name, tuple(str(word) for word in overrides))
    model = write_container(Path(args.container), recipe)
    export_run(run, model)
    console.print(
        f"{args.container}: recipe written. Try it here first: {args.container}/test.sh PATH_OF_DATASET_JSON",
        markup=False,
    )
    return 0
