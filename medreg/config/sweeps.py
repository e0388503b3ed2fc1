"""Where a sweep keeps its memory: which jobs it has, and where each has its run folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

FOLDER = "sweep_"
_announced: list[Path] = []


def folder_of(outputs: Path, arguments: Sequence[str]) -> Path:
    """Return the folder of the sweep of these overrides, whatever their order; launchers and sweepers do not count.

    Args:
        outputs: folder of the run folders.
        arguments: overrides of the command line without those of Hydra.
    """
    text = json.dumps(sorted(arguments))
    return outputs / f"{FOLDER}{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def announce(folder: Path) -> None:
    """Tell `launch` that the sweep of this process keeps its memory there."""
    _announced.append(folder)


def announced() -> Path | None:
    """Return where the sweep of this process keeps its memory and forget it; None where no sweep began."""
    found = _announced[-1] if _announced else None
    _announced.clear()
    return found
