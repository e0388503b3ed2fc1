"""`medreg rank`: rank methods as Learn2Reg does, from metric files or run folders."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medreg.io.outputs import check_folder

if TYPE_CHECKING:
    from medreg.studies.learn2reg.ranking import Ranking

SCHEMES: dict[str, dict[str, Any]] = {
    "coded": {"test": "ranksums", "count": "losses"},
    "described": {"test": "signed_rank", "count": "wins"},
    "simple": {"simple": True},
}
DRAWS = 1000  # of the bootstrap
INITIAL = "unregistered (given by --initial)"


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser("rank", help="rank methods as Learn2Reg does, with stability of the ranks")
    parser.add_argument(
        "source", nargs="+", help="metric files, folders of them, or run folders; NAME=PATH names a method"
    )
    scheme = parser.add_argument_group("scheme")
    scheme.add_argument(
        "--scheme",
        choices=tuple(SCHEMES),
        default="coded",
        help="coded: as the organisers' code does; described: as their text says; simple: by means alone",
    )
    scheme.add_argument("--test", choices=("ranksums", "signed_rank"), help="instead of the scheme's test")
    scheme.add_argument("--count", choices=("losses", "wins"), help="instead of the scheme's count")
    scheme.add_argument("--no-runtime", action="store_true", help="runtimes do not count")
    scheme.add_argument("--initial", metavar="FILE", help="metric file of the unregistered state, not ranked")
    scheme.add_argument("--rules", metavar="FILE", help="YAML file of factors and missing values per task")
    scheme.add_argument(
        "--notebook-slips", action="store_true", help="also what the organisers' notebooks do by mistake"
    )
    scheme.add_argument("--allow-missing", action="store_true", help="no value: lowest score, not an error")
    scheme.add_argument("--common", action="store_true", help="only the cases that all methods have")
    scheme.add_argument("--config", metavar="FILE", help="official evaluation config: its cases and metrics")
    scheme.add_argument(
        "--bootstrap", type=int, default=DRAWS, metavar="N", help=f"draws of cases, 0 for none ({DRAWS})"
    )
    scheme.add_argument("--seed", type=int, default=0, help="of the draws (0)")
    scheme.add_argument("--published", metavar="TASK", help="show published numbers of a task below ours")
    parser.add_argument("-o", "--output", metavar="FOLDER", help="write tables and plots there")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Rank, print, and write what was asked for."""
    from medreg.reporting.formats import to_rich
    from medreg.reporting.terminal import wide_enough
    from medreg.studies.learn2reg.bootstrap import bootstrap
    from medreg.studies.learn2reg.rank_files import printed_tables, write_ranking

    if args.output is not None:
        check_folder(args.output, "--output")
    ranking, notes = _ranked(args)
    stability = bootstrap(ranking, draws=args.bootstrap, seed=args.seed) if args.bootstrap > 0 else {}
    tables = printed_tables(ranking, stability=stability, published=args.published)
    shown = [to_rich(table) for table in tables]
    console = wide_enough(shown)
    for table in shown:
        console.print(table)
    for note in (ranking.scheme.sentence(), *notes):
        console.print(note, highlight=False, markup=False, style="dim")
    if args.output is not None:
        folder = write_ranking(ranking, Path(args.output), stability=stability, published=args.published)
        console.print(f"Written: {folder}", highlight=False, markup=False)
    return 0


def _ranked(args: argparse.Namespace) -> tuple[Ranking, tuple[str, ...]]:
    import pandas as pd

    from medreg.data.datasets.learn2reg_config import read_config
    from medreg.studies.learn2reg.ranking import rank
    from medreg.studies.learn2reg.ranking_inputs import collect

    config = None if args.config is None else read_config(args.config)
    collected = collect(args.source, config=config, common=args.common)
    table, initial = collected.table, None
    if args.initial is not None:
        start = collect([f"{INITIAL}={args.initial}"], config=config).table
        table, initial = pd.concat([table, start], ignore_index=True), INITIAL
    options: dict[str, Any] = dict(SCHEMES[args.scheme])
    options |= {key: value for key in ("test", "count") if (value := getattr(args, key)) is not None}
    ranking = rank(
        table,
        **options,
        runtime=not args.no_runtime,
        initial=initial,
        rank_initial=initial is None,
        slips=args.notebook_slips,
        allow_missing=args.allow_missing,
        rules=args.rules,
    )
    return ranking, collected.notes
