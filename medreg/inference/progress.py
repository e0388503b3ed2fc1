"""What an optimisation tells of itself while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Progress:
    """What a callback of a solver is told after each evaluation of the energy.

    Attributes:
        level: index into the levels, 0 = first.
        iteration: updates made at this level.
        energies: (B,).
    """

    level: int
    iteration: int
    energies: Tensor


Callback = Callable[[Progress], None]
Report = Callable[[int, Tensor], None]  # iteration, energies (B,)


def reporter(level: int, callback: Callback | None) -> Report:
    """The callback for one level; a callback that is None is told nothing."""

    def report(iteration: int, energies: Tensor) -> None:
        if callback is not None:
            callback(Progress(level, iteration, energies.detach()))

    return report
