"""`medreg search-smoothness`: find the smoothness λ of a conditional model on validation cases, without retraining."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from medreg.io.outputs import check_folder

UNIFORM_STEP = 0.1  # of the uniform λ that --evaluate compares with
SHUFFLE_SEED = 0
EPILOG = """\
Files written to RUN/smoothness/:
  METHOD_OBJECTIVE_{scalar,regions}_SCOPE.yaml         λ, objective before and after, evaluations, CPU seconds
  METHOD_OBJECTIVE_{scalar,regions}_SCOPE_trace.csv    every λ that was tried
  METHOD_OBJECTIVE_{scalar,regions}_SCOPE_SPLIT.csv    with --evaluate: beside uniform λ and λ in wrong regions
  cost.csv                                             CPU time of search and training, also of the runs of --against

Examples:
  medreg search-smoothness outputs/csain                                one λ on all validation cases, by its gradient
  medreg search-smoothness outputs/csain --regions --scope pair         one λ for each region and case
  medreg search-smoothness outputs/csain --method coordinate --regions  without gradients
  medreg search-smoothness outputs/csain --against outputs/fixed_*      beside a grid search with retrained models
  medreg register f.nii.gz m.nii.gz -o out --ckpt outputs/csain --smoothness-file outputs/csain/smoothness/NAME.yaml
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb with its options."""
    parser = subparsers.add_parser(
        "search-smoothness",
        help="find λ of a conditional model on validation cases",
        description="Search the smoothness λ of a conditional model: one number, or one for each region.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run_folder", metavar="RUN", help="run folder of a conditional model")
    parser.add_argument(
        "--method",
        default="adam",
        metavar="NAME",
        help="adam (default), adam_released, grid, coordinate, YAML file",
    )
    parser.add_argument(
        "--objective", default="label_dice", metavar="NAME", help="label_dice (default), intensity_dice, ncc"
    )
    parser.add_argument("--regions", action="store_true", help="one λ for each region of training")
    parser.add_argument(
        "--scope",
        default="dataset",
        metavar="NAME",
        help="λ are shared by the dataset (default), a group, a pair",
    )
    parser.add_argument(
        "--group-size", type=int, default=5, metavar="N", help="cases of a group (5, as released)"
    )
    parser.add_argument("--split", choices=("val", "test"), default="val", help="cases to search on (val)")
    parser.add_argument("--cases", type=int, metavar="N", help="at most so many, spread over the split")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a number of the method"
    )
    parser.add_argument(
        "--against",
        nargs="+",
        default=[],
        metavar="RUN",
        help="runs trained for one λ each: what a grid would cost",
    )
    parser.add_argument(
        "--evaluate",
        choices=("val", "test"),
        metavar="SPLIT",
        help="measure the λ found on the cases of test or val",
    )
    parser.add_argument(
        "--shuffles",
        type=int,
        default=10,
        metavar="N",
        help="of the λ over the regions there, a control (10)",
    )
    parser.add_argument("--retry", action="store_true", help="search groups again that failed before")
    parser.add_argument("--again", action="store_true", help="search everything again")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Search, write, and print what was found."""
    from rich.console import Console

    from medreg.studies.smoothness.control import evaluate_found
    from medreg.studies.smoothness.cost import compare_cost, write_cost
    from medreg.studies.smoothness.job import SearchPlan, search
    from medreg.studies.smoothness.result import GroupResult
    from medreg.studies.smoothness.run_cases import load_cases, load_run
    from medreg.studies.smoothness.scores import Scores
    from medreg.study.job import Progress
    from medreg.study.progress import progress_line
    from medreg.study.view import write_csv

    console = Console()

    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    plan = SearchPlan(
        method=args.method,
        objective=args.objective,
        by_region=args.regions,
        scope=args.scope,
        group_size=args.group_size,
        overrides=tuple(args.set),
    )
    check_folder(args.run_folder, "RUN")
    trained = load_run(Path(args.run_folder))
    others = [load_run(Path(folder)) for folder in args.against]
    cases = load_cases(trained, args.split, limit=args.cases)
    with progress_line(console, "search") as line:

        def tell(progress: Progress) -> None:
            line(progress)
            if progress.last is not None and not progress.last.failed:
                group = GroupResult.of(progress.last)
                values = f"{group.trace.first.objective:.5f} → {group.trace.best.objective:.5f}"
                say(f"{', '.join(group.cases[:3])}: {values}")

        result, file = search(trained, cases, plan, retry=args.retry, again=args.again, tell=tell)
    for case, reason in result.failed.items():
        say(f"left out: {case}: {reason}")
    effort = result.effort
    say(f"λ: {', '.join(f'{value:.4f}' for value in result.weights)}")
    say(f"objective: {result.mean('first'):.5f} at the start, {result.mean('best'):.5f} at the best λ")
    say(
        f"cost: {effort.evaluations} evaluations ({effort.gradients} with gradient), {effort.cpu_seconds:.1f} CPU s"
    )
    with progress_line(console, "scores") as line:
        scores = Scores(file.parent, line)
        table = write_cost(compare_cost(trained, result, file, others, cases, scores), file.parent)
    say(f"{file}\n{table}")
    if args.evaluate:
        other = cases if args.evaluate == args.split else load_cases(trained, args.evaluate)
        checks = evaluate_found(
            trained,
            result,
            cases,
            other,
            scores,
            step=UNIFORM_STEP,
            shuffles=args.shuffles,
            seed=SHUFFLE_SEED,
        )
        say(str(write_csv(checks, file.with_name(f"{file.stem}_{args.evaluate}.csv"), digits=7)))
        say(checks.to_string(index=False))
    return 0
