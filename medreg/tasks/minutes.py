"""A line of the log now and then while one case takes long."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from medreg.inference.progress import Progress

log = logging.getLogger("medreg")


class Minutes:
    """A callback of a solver that says how far a case is, at most every so many seconds.

    Args:
        case: its id.
        effort: iterations of each stage, see `Solver.effort`.
        every_s: seconds between two lines; a case that takes less says nothing.
    """

    def __init__(self, case: str, effort: Sequence[int], *, every_s: float = 60.0) -> None:
        self.case, self.effort, self.every_s = case, effort, every_s
        self._told = time.monotonic()

    def __call__(self, state: Progress) -> None:
        """Say it, if it is time."""
        now = time.monotonic()
        if now - self._told < self.every_s:
            return
        self._told = now
        made, total = sum(self.effort[: state.level]) + state.iteration, max(sum(self.effort), 1)
        log.info("case %s: %d of %d iterations, %.0f %%", self.case, made, total, 100 * made / total)
