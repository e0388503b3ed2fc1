"""An explicit list of jobs, whose options may differ in any way: how a table starts its rows."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from hydra_plugins.medreg_sweepers._jobs import JobSweeper

log = logging.getLogger(__name__)


class ListedSweeper(JobSweeper):
    """Run the jobs of a file by the chosen launcher; one that fails stops no other.

    Args:
        file: JSON, a list of lists of options; what stands on the command line goes before each.
    """

    def __init__(self, *, file: str) -> None:
        super().__init__()
        self.file = Path(file)

    def run_all(self, arguments: list[str]) -> list[Any]:
        """Run every job of the file."""
        from medreg.errors import ConfigError
        from medreg.io.atomic import read_json

        jobs = read_json(self.file)
        if not isinstance(jobs, list) or not all(isinstance(job, list) for job in jobs):
            raise ConfigError(f"{self.file} holds no list of lists of options; write it as JSON.")
        found = self.run([[*arguments, *map(str, job)] for job in jobs])
        for number, job in enumerate(found):
            if job.error:
                log.error("Job %d failed: %s", number, job.error)
        return found
