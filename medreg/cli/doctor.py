"""`medreg doctor data=NAME` and `medreg doctor TASK_FOLDER`: check a data set and say what to mend."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medreg.errors import ConfigError, DataError, DatasetNotFound

if TYPE_CHECKING:
    from medreg.data.findings import Audit

STYLES = {"error": "bold red", "warning": "yellow", "info": "dim"}


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add the command to the subparsers of `medreg`."""
    parser = subparsers.add_parser(
        "doctor",
        help="check a data set and say what to mend",
        description="Count subjects, images and labels of a data set and look for missing files, wrong "
        "shapes, unknown "
        "label codes and headers that lie; a folder is checked as a Learn2Reg task, against its descriptor. "
        "Exit code 1 if anything must be mended before training.",
        epilog="examples: medreg doctor data=acdc data.dataset.root=/data/ACDC/database; "
        "medreg doctor /data/learn2reg/OASIS --config OASIS_VAL_evaluation_config.json --deep",
    )
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="WHAT",
        help="folder of a Learn2Reg task; or data=NAME and changes, as for train.py (data=acdc)",
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="folder: compare with this official evaluation config too"
    )
    parser.add_argument(
        "--deep", action="store_true", help="folder: read voxels too (label codes, masks), not headers only"
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Print the state of the data set; 0 if it can be used, 1 if not."""
    from rich.console import Console

    console = Console()
    try:
        title, found = _task(args, console) if _is_folder(args.overrides) else _configured(args, console)
    except (DatasetNotFound, DataError) as error:
        if args.json:
            print(json.dumps({"usable": False, "error": str(error)}))
        else:
            console.print(f"[bold red]{type(error).__name__}[/]: {error}", highlight=False)
        return 1
    if args.json:
        print(json.dumps({"title": title, "usable": not found.failed, **dataclasses.asdict(found)}, indent=1))
    else:
        console.print(render(title, found), highlight=False)
    return 1 if found.failed else 0


def _is_folder(words: list[str]) -> bool:
    """Whether a folder was given instead of options."""
    if words and "=" not in words[0]:
        if len(words) > 1 or not Path(words[0]).expanduser().is_dir():
            raise ConfigError(
                f"{words[0]} is no folder of a Learn2Reg task; give one folder, or data=NAME and other options."
            )
        return True
    return False


def _task(args: argparse.Namespace, console: Any) -> tuple[str, Audit]:
    from rich.progress import track

    from medreg.data.audit_task import audit_task

    quiet = args.json or not console.is_terminal
    found = audit_task(
        Path(args.overrides[0]).expanduser(),
        config=args.config,
        deep=args.deep,
        progress=lambda files: track(files, "Reading", console=console, disable=quiet),
    )
    return "Learn2Reg task", found


def _configured(args: argparse.Namespace, console: Any) -> tuple[str, Audit]:
    from rich.progress import track

    from medreg.config.compose import compose
    from medreg.config.instantiate import build
    from medreg.data.audit import audit

    if args.config is not None or args.deep:
        raise ConfigError(
            "--config and --deep are for the folder of a Learn2Reg task: medreg doctor FOLDER --deep. "
            "A data set by name is always read in full."
        )
    data = build(compose(args.overrides).data)
    data.prepare_data()
    quiet = args.json or not console.is_terminal
    found = audit(data, progress=lambda records: track(records, "Reading", console=console, disable=quiet))
    return data.dataset.title, found


def render(title: str, found: Audit) -> Any:
    """Return the tables of an audit as one rich renderable."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    facts = Table(box=box.SIMPLE, show_header=False, title=title, title_justify="left")
    for name, text in found.facts.items():
        facts.add_row(name, Text(text))
    if not found.issues:
        return Group(facts, Text("Nothing to mend.", style="green"))
    issues = Table(box=box.SIMPLE)
    for name in ("", "files", "finding", "what to do", "example"):
        issues.add_column(name, overflow="fold")
    for issue in found.issues:
        style = STYLES[issue.severity]
        row = (issue.message, issue.remedy, issue.example)
        issues.add_row(Text(issue.severity, style=style), str(issue.count), *(Text(text) for text in row))
    return Group(facts, issues, Text(_verdict(found)))


def _verdict(found: Audit) -> str:
    kinds = {name: sum(issue.severity == name for issue in found.issues) for name in ("error", "warning")}
    if kinds["error"]:
        return f"{kinds['error']} kinds of errors must be mended before this data set can be used."
    return f"Usable; {kinds['warning']} kinds of warnings to look at."
