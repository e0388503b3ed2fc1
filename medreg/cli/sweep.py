"""`medreg sweep`: what a sweep found, from its folder or from the options that started it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from medreg.errors import ConfigError


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "sweep",
        help="means over seeds, the best setting, and pictures of a sweep",
        description="Show what a sweep found so far: mean and standard deviation over seeds, the best setting with the "
        "command that runs it again, parallel coordinates, the Pareto front of two objectives, and how much "
        "each option mattered. Writes sweep.html, settings.csv and trials.csv beside sweep.json.",
        epilog="example: medreg sweep outputs/sweep_1a2b3c4d    or    medreg sweep model=gradirn,vrnet seed=1,2,3",
    )
    parser.add_argument("what", nargs="+", help="folder of a sweep or of runs, or the sweep's options")
    parser.add_argument("--outputs", type=Path, default=Path("outputs"), help="where runs are kept (outputs)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the page and print the table."""
    from medreg.studies.sweep.page import show_sweep

    show_sweep(_folder(args.what, args.outputs))
    return 0


def _folder(words: list[str], outputs: Path) -> Path:
    """Return the folder that was named, or that of the sweep with these options.

    Raises:
        ConfigError: there is none.
    """
    from medreg.config.sweeps import folder_of

    if len(words) == 1 and Path(words[0]).is_dir():
        return Path(words[0]).resolve()
    # As copied from a shell: the program, -m and Hydra's own options are no options of the sweep.
    own = [word for word in words if "=" in word and not word.lstrip("+~").startswith("hydra")]
    folder = folder_of(outputs.resolve(), own)
    if not folder.is_dir():
        raise ConfigError(
            f"No sweep of {' '.join(own) or ' '.join(words)} has begun in {outputs.resolve()}. Give the options "
            "exactly as in the command, or the folder of the sweep; --outputs names another place."
        )
    return folder
