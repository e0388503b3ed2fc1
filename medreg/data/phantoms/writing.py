"""What phantoms have in common: a folder named by all parameters, written once, continued after a kill."""

from __future__ import annotations

import hashlib
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

from rich.console import Console
from rich.progress import track

from medreg.io.atomic import write_text
from medreg.io.lock import exclusive

MARKER = "complete.json"  # the parameters, written last
MOST_WORKERS = 4
Job = Callable[[], None]


class Phantom(ABC):
    """Writes a synthetic data set into `<root>/<hash of all parameters>`.

    Every job leaves its files whole or not at all, and their bytes depend on the parameters only: a killed run is
    continued, and a second process waits for the first.
    """

    title: ClassVar[str]  # of the progress bar
    folder: Path

    @abstractmethod
    def parameters(self) -> dict[str, Any]:
        """Return everything on which the files depend."""

    @abstractmethod
    def missing(self) -> Sequence[Job]:
        """Return a job for each part that is not there."""

    def sweep(self) -> None:  # noqa: B027
        """Remove what killed processes left; nothing by default."""

    def finish(self) -> None:  # noqa: B027
        """Write what comes after all jobs; nothing by default."""

    def below(self, root: str | Path) -> Path:
        """Return the folder of these parameters."""
        text = json.dumps(self.parameters(), sort_keys=True)
        return Path(root).expanduser() / hashlib.sha256(text.encode()).hexdigest()[:12]

    def ensure(self) -> Path:
        """Write what is missing and return the folder."""
        if (self.folder / MARKER).is_file():
            return self.folder
        with exclusive(self.folder / ".lock") as alone:
            if alone:
                self.sweep()
            jobs = list(self.missing())
            console = Console(stderr=True)
            with ThreadPoolExecutor(max_workers=min(MOST_WORKERS, os.cpu_count() or 1)) as pool:
                done = pool.map(lambda job: job(), jobs)
                silent = not console.is_terminal
                for _ in track(done, self.title, len(jobs), console=console, disable=silent):
                    pass
            self.finish()
            write_plain(self.folder / MARKER, self.parameters())
        return self.folder


def write_plain(path: Path, content: dict[str, Any]) -> None:
    """Write JSON whole or not at all, byte for byte as earlier versions did."""
    write_text(path, json.dumps(content, indent=1))
