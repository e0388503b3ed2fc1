"""`python -m experiments.performance`: time operators, steps, evaluation and the training loop beside other tools."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from medreg.errors import ConfigError, MedregError

NETWORKS = ("gradirn", "voxelmorph", "vrnet", "csain")
SECTIONS = ("operators", "steps", "evaluation", "loop", "scaling", "posterior", "augmentation", "hearts")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.performance",
        description="Measure operators, training steps, evaluation, the training loop, inference, augmentation and "
        "models of hearts beside whichever other packages are installed (MONAI, voxelmorph, deepali, SimpleITK, "
        "surface-distance, SciPy), paired in one process. Every number goes to OUTPUT/bench.csv as soon as it is "
        "known; the same command continues after an interruption.",
        epilog="example: python -m experiments.performance all --quick",
    )
    parser.add_argument("section", nargs="*", choices=[*SECTIONS, "all"], default="all", help="default: all")
    parser.add_argument("--quick", action="store_true", help="two minutes instead of twenty: small sizes")
    parser.add_argument(
        "--sizes",
        nargs="+",
        default=(),
        metavar="SIZE",
        help="of operators and steps: 96, 160x192x224, 16*192x192",
    )
    parser.add_argument("--threads", type=int, default=2, help="of every package (2)")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"], help="where the operators run")
    parser.add_argument("--output", type=Path, default=Path("outputs/bench"), help="folder (outputs/bench)")
    parser.add_argument(
        "--release", type=Path, nargs="+", default=(), metavar="FOLDER",
        help="checkouts of the GraDIRN, VR-Net, CSAIN, ir-sgmcmc, dlvi, AdvChain and CHeart releases, run beside ours",
    )  # fmt: skip
    parser.add_argument(
        "--networks", nargs="+", default=(), choices=NETWORKS, help="whose training steps are measured (all)"
    )
    parser.add_argument("--l2r", type=Path, help="checkout of the Learn2Reg evaluation, run beside ours")
    parser.add_argument("--document", type=Path, help="Markdown page whose marked tables are replaced")
    return parser


def run(args: argparse.Namespace) -> int:
    """Run the sections, write the report and print it."""
    chosen = [args.section] if isinstance(args.section, str) else list(args.section)
    names = list(SECTIONS) if "all" in chosen else chosen
    for folder, option in (*((one, "--release") for one in args.release), (args.l2r, "--l2r")):
        if folder is not None and not folder.is_dir():
            raise ConfigError(f"{option} {folder} is not a folder; give the path of a checkout.")
    # Waiting threads must not spin: process time shall be work. Read when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ["OMP_NUM_THREADS"] = str(args.threads)

    from rich.console import Console

    from experiments.performance.bench import bench
    from experiments.performance.session import Settings

    settings = Settings(
        sizes=tuple(args.sizes), threads=args.threads, device=args.device, quick=args.quick,
        release=tuple(args.release), l2r=args.l2r, networks=tuple(args.networks),
    )  # fmt: skip
    bench(names, settings, output=args.output, document=args.document, console=Console())
    return 0


def main(words: Sequence[str] | None = None) -> int:
    """Parse, run, and say in a sentence what a person can mend."""
    try:
        return run(parser().parse_args(words))
    except MedregError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
