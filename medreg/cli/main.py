"""The `medreg` command."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from medreg import __version__
from medreg.cli.renamed import renamed
from medreg.cli.streams import outlasting
from medreg.errors import MedregError

VERBS = (
    "train",
    "register",
    "segment",
    "generate",
    "complete",
    "age",
    "search_smoothness",
    "draw_smoothness",
    "warp",
    "doctor",
    "show",
    "list",
    "report",
    "evaluate",
    "rank",
    "calibration",
    "submit",
    "benchmark",
    "sweep",
    "capture_range",
    "table",
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all verbs; importing them costs nothing because their work is imported when run."""
    parser = argparse.ArgumentParser(
        prog="medreg", description="One energy, many solvers: medical image registration."
    )
    parser.add_argument("--version", action="version", version=f"medreg {__version__}")
    subparsers = parser.add_subparsers(dest="verb", required=True, metavar="verb")
    for verb in VERBS:
        importlib.import_module(f"medreg.cli.{verb}").add_parser(subparsers)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code; errors that a person can mend are one paragraph, not a traceback."""
    with outlasting() as lost:
        code = _run(sys.argv[1:] if arguments is None else arguments)
    for sentence in lost:
        print(f"\n{sentence}", file=sys.stderr)
    return code or int(bool(lost))


def _run(arguments: Sequence[str]) -> int:
    words = renamed(arguments)
    if words[:1] == ["train"]:  # argparse would take Hydra's flags for its own
        from medreg.cli.train import main as train

        return train(words[1:])
    args = _parse(words)
    try:
        return int(args.run(args))
    except MedregError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return 130
    except Exception as error:
        from medreg.config.faults import sentence

        text = sentence(error)
        if text is None:  # a defect, of which the traceback tells
            raise
        print(f"\n{text}", file=sys.stderr)
        return 1


def _parse(words: Sequence[str]) -> argparse.Namespace:
    """Parse; who writes key=value where --set is wanted is told so."""
    parser = build_parser()
    args, unknown = parser.parse_known_args(words)
    if hasattr(args, "overrides"):  # argparse takes no options of Hydra after a flag of its own
        args.overrides += [word for word in unknown if not word.startswith("-")]
        unknown = [word for word in unknown if word.startswith("-")]
    if unknown:
        given = next((word for word in unknown if "=" in word and not word.startswith("-")), None)
        hint = f"; write --set {given}" if given is not None and hasattr(args, "set") else ""
        parser.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
    return args


if __name__ == "__main__":
    sys.exit(main())
