"""No remote logger: the tables in the run folder are enough."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class NoLogger:
    """Keep nothing beside the local files."""

    def connect(self, folder: Path, *, config: dict[str, Any], facts: dict[str, Any]) -> None:
        """Return no Lightning logger."""

    def report(self, folder: Path) -> None:
        """Ignore results; `results.csv` has them."""

    def close(self, *, failed: bool) -> None:
        """Do nothing at the end."""
