"""`medreg list`: every configuration group and its options."""

from __future__ import annotations

import argparse
from typing import Any


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser("list", help="list models, data sets, losses and all other options")
    parser.add_argument("group", nargs="?", help="only this group, such as model")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print group=option with a line of description."""
    from medreg.config.listing import options
    from medreg.errors import ConfigError

    found = options()
    if args.group is not None and args.group not in found:
        raise ConfigError(f"No group {args.group!r}. Groups: {', '.join(found)}.")
    for group, entries in found.items():
        if args.group in (None, group):
            print(group)
            for option, text in entries.items():
                print(f"  {group}={option:<24} {text}".rstrip())
    return 0
