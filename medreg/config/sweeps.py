"""Where a sweep keeps its memory: which jobs it has, and where each has its run folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from medreg.io.digest import digest_of

FOLDER = "sweep_"
NAME_VARIABLE = "MEDREG_SWEEP"  # tells the processes of a launcher which sweep they work for
_announced: list[Path] = []


def folder_of(outputs: Path, arguments: Sequence[str]) -> Path:
    """Return the folder of the sweep of these overrides, whatever their order; launchers and sweepers do not count.

    Args:
        outputs: folder of the run folders.
        arguments: overrides of the command line without those of Hydra.
    """
    return outputs / f"{FOLDER}{digest_of(sorted(arguments))[:8]}"


def announce(folder: Path) -> None:
    """Tell `launch`, and the processes that a launcher starts, where the sweep of this process keeps its memory."""
    _announced.append(folder)
    os.environ[NAME_VARIABLE] = folder.name


def current_name() -> str | None:
    """Return the name of the sweep that this process works for; None where there is none."""
    return os.environ.get(NAME_VARIABLE)


def announced() -> Path | None:
    """Return where the sweep of this process keeps its memory and forget it; None where no sweep began."""
    found = _announced[-1] if _announced else None
    _announced.clear()
    os.environ.pop(NAME_VARIABLE, None)
    return found
