"""`medreg train`: the same as `python train.py`, from anywhere."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medreg.cli.streams import outlasting


def job(cfg: Any) -> Any:
    """Run one composed configuration (imported by name in processes that a launcher starts)."""
    from medreg.runner import run_job

    with outlasting():
        return run_job(cfg)


def main(arguments: Sequence[str]) -> int:
    """Launch a run or a sweep and return the exit code."""
    # Lightning starts the other processes of a DDP run as `python <this file> <overrides>`.
    if Path(sys.argv[0]).name != "train.py":
        sys.argv[0] = __file__
    with outlasting() as lost:
        code = _launch(arguments)
    for sentence in lost:
        print(f"\n{sentence}", file=sys.stderr)
    return code or int(bool(lost))


def _launch(arguments: Sequence[str]) -> int:
    from medreg.config.application import launch

    return launch(job, arguments, complete=complete, report=_report_sweep)


def complete(overrides: Sequence[str]) -> list[str]:
    """Return the overrides, with the options of the run in front where one is evaluated; torch only then."""
    if not any(word.startswith("ckpt=") for word in overrides):
        return list(overrides)
    from medreg.runs.evaluation import with_options_of_the_run

    return with_options_of_the_run(overrides)


def _report_sweep(folder: Path) -> int:
    """Tell how a sweep ended, and show means, the best and pictures."""
    from medreg.runs.sweep import report
    from medreg.studies.sweep.page import mirror_sweep, show_sweep

    code = report(folder)
    show_sweep(folder)
    mirror_sweep(folder)
    return code


def add_parser(subparsers: Any) -> None:
    """Add the verb; its options are Hydra's, so everything after it is passed on."""
    parser = subparsers.add_parser("train", help="train, evaluate and report (as train.py)", add_help=False)
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    parser.set_defaults(run=lambda args: main(args.arguments))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
