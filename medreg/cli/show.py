"""`medreg show`: the composed configuration, each value with the file it comes from."""

from __future__ import annotations

import argparse
from typing import Any


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "show", help="print the composed configuration and where each value comes from"
    )
    parser.add_argument("overrides", nargs="*", help="as for train.py: group=option key=value")
    parser.add_argument(
        "--key", default="", help="only keys that start with this, such as model or data.preprocess"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print a table of key, value and source."""
    from rich.console import Console
    from rich.table import Table

    from medreg.config.provenance import origins

    table = Table(show_lines=False)
    for title in ("key", "value", "from"):
        table.add_column(title, overflow="fold")
    for origin in origins(args.overrides):
        if origin.key.startswith(args.key):
            table.add_row(origin.key, origin.value, origin.source)
    Console().print(table)
    return 0
