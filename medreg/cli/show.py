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
    """Print one line a value: `key: value  # source`, which is YAML too."""
    from medreg.config.provenance import origins

    found = [origin for origin in origins(args.overrides) if origin.key.startswith(args.key)]
    wide = min(72, max((len(f"{origin.key}: {origin.value}") for origin in found), default=0))
    for origin in found:
        print(f"{f'{origin.key}: {origin.value}':<{wide}}  # {origin.source}")
    return 0
