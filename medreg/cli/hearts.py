"""What `medreg generate`, `complete` and `age` have in common: conditions, options, and what they print."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medreg.errors import ConfigError

if TYPE_CHECKING:
    from medreg.generating.plan import Plan
    from medreg.generating.writing import Told

CONDITIONS = {
    "age": ("age_years", "YEARS", "age of the person"),
    "sex": ("sex", "F|M", "sex"),
    "height": ("height_cm", "CM", "height"),
    "weight": ("weight_kg", "KG", "weight"),
    "sbp": ("sbp_mmhg", "MMHG", "systolic blood pressure"),
}
PRINTED = ("lvedv_ml", "lvesv_ml", "lvef_percent", "lvm_g", "rvedv_ml", "rvesv_ml", "rvef_percent")
UNITS = {"ml": "mL", "percent": "%"}
SAMPLED = {"generated": "hearts", "completed_sample": "samples"}  # kinds of hearts that are told together
MOST_ROWS = 12  # of the printed table


def add_conditions(parser: Any, *, age: bool = True) -> None:
    """Add a flag for each condition.

    Args:
        parser: of the verb.
        age: whether the age is one of them.
    """
    for flag, (name, metavar, words) in CONDITIONS.items():
        if age or flag != "age":
            parser.add_argument(f"--{flag}", dest=name, metavar=metavar, help=words)
    parser.add_argument(
        "--condition",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="any other condition of the model, such as group=DCM; may be repeated",
    )


def add_source(parser: Any) -> None:
    """Add what is said of the file that is read."""
    parser.add_argument(
        "--labels",
        metavar="NAME=CODE,…",
        help="codes of the file, such as LV=3,MYO=2,RV=1 (default the run's)",
    )
    parser.add_argument(
        "--grid",
        default="file",
        choices=["file", "model"],
        help="voxels of the results: those of the file (default), or of the model where the heart lies",
    )


def add_output(parser: Any, *, seed: bool = True) -> None:
    """Add where results go, and how they are made."""
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="folder of the results")
    parser.add_argument(
        "--mesh", action="store_true", help="also surfaces (.vtp, RAS mm; needs medreg[mesh])"
    )
    if seed:
        parser.add_argument("--seed", default="1", metavar="N", help="of the draws (default 1)")
    parser.add_argument("--ckpt", default="best", choices=["best", "last"], help="of the run (default best)")
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda, mps")
    parser.add_argument("--overwrite", action="store_true", help="replace results that are there already")
    parser.add_argument("--quiet", action="store_true", help="say nothing but what went wrong")


def conditions_of(args: argparse.Namespace) -> dict[str, str]:
    """Return the conditions that were given, by the name of the covariate.

    Raises:
        ConfigError: --condition without a name and a value, or one that is said twice.
    """
    found = {
        name: value for name, *_ in CONDITIONS.values() if (value := getattr(args, name, None)) is not None
    }
    for text in args.condition:
        name, mark, value = (word.strip() for word in text.partition("="))
        if not mark or not name or not value:
            raise ConfigError(f"--condition {text}: write NAME=VALUE, such as group=DCM.")
        if name in found:
            raise ConfigError(f"--condition {text}: {name} is given twice; leave one of them out.")
        found[name] = value
    return found


def whole_number(flag: str, text: str) -> int:
    """Return a whole number from 0.

    Raises:
        ConfigError: another word.
    """
    if not (text.isascii() and text.isdigit()):
        raise ConfigError(f"{flag} {text}: write a whole number.")
    return int(text)


def number(flag: str, text: str) -> float:
    """Return a number.

    Raises:
        ConfigError: another word.
    """
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"{flag} {text}: write a number.") from None


def labels_of(args: argparse.Namespace) -> dict[str, int] | None:
    """Return the stated codes of the file, None where the run's are meant.

    Raises:
        ConfigError: other words than NAME=CODE,….
    """
    from medreg.generating.source import read_labels_option

    return None if args.labels is None else read_labels_option(args.labels)


def make(plan: Plan, args: argparse.Namespace) -> int:
    """Look at the folder, say what a person should know, make the hearts, write them and print what was found."""
    from rich.console import Console
    from rich.progress import track

    from medreg.generating.writing import check_output, write

    place = check_output(plan, args.output, mesh=args.mesh, overwrite=args.overwrite)
    console = Console(quiet=args.quiet)
    for note in plan.notes:
        console.print(f"[yellow]note[/] {_plain(note)}", highlight=False, soft_wrap=True)
    bar = Console(stderr=True, quiet=args.quiet)
    hearts = track(
        plan.make(), "hearts", total=len(plan.names), console=bar, transient=True, disable=not bar.is_terminal
    )
    told = write(plan, hearts, place, mesh=args.mesh)
    for note in told.notes:
        console.print(f"[yellow]note[/] {_plain(note)}", highlight=False, soft_wrap=True)
    console.print(measure_table(told.measures))
    console.print(_files(told), highlight=False, soft_wrap=True, markup=False)
    return 0


def measure_table(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Return a rich table of measures: a row a heart, mean and SD of those that were drawn."""
    from statistics import fmean, stdev

    from rich.table import Table

    table = Table()
    table.add_column("heart", no_wrap=True)
    for name in PRINTED:
        measure, unit = name.split("_")
        table.add_column(f"{measure.upper()}\n{UNITS.get(unit, unit)}", justify="right", no_wrap=True)
    kinds: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        kinds.setdefault(row["source"], []).append(row)
    several = {kind: them for kind, them in kinds.items() if kind in SAMPLED and len(them) > 1}
    for row in rows:
        if len(rows) <= MOST_ROWS or row["source"] not in several:
            table.add_row(row["heart"], *(_one(row.get(name)) for name in PRINTED))
    for kind, them in several.items():
        table.add_section()
        for word, statistic in (("mean", fmean), ("SD", stdev)):
            known = [[row[name] for row in them if row[name] == row[name]] for name in PRINTED]
            cells = [_one(statistic(values)) if len(values) > 1 else "" for values in known]
            table.add_row(f"{word} of {len(them)} {SAMPLED[kind]}", *cells)
    return table


def _one(value: float | None) -> str:
    return "" if value is None or value != value else f"{value:.1f}"


def _files(told: Told) -> str:
    maps = sum(file.name.endswith(".nii.gz") for file in told.files)
    others = [
        file.name for file in told.files if file.parent == told.place and not file.name.endswith(".nii.gz")
    ]
    surfaces = sum(file.suffix == ".vtp" for file in told.files)
    meshes = f", {surfaces} surfaces" if surfaces else ""
    return f"{Path(told.place)}: {maps} label maps{meshes}, {', '.join(others)}"


def _plain(text: str) -> str:
    """A sentence whose brackets are no markup."""
    from rich.markup import escape

    return escape(text)
