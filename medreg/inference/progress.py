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
        theta: (B, ...) parameters that were evaluated, on the grid of the level; not to be written into.
    """

    level: int
    iteration: int
    energies: Tensor
    theta: Tensor


Callback = Callable[[Progress], None]
Report = Callable[[int, Tensor, Tensor], None]  # iteration, θ (B, ...), energies (B,)


def silent(iteration: int, theta: Tensor, energies: Tensor) -> None:
    """The report that tells nobody."""


def reporter(level: int, callback: Callback | None) -> Report:
    """The callback for one level; a callback that is None is told nothing."""
    if callback is None:
        return silent

    def report(iteration: int, theta: Tensor, energies: Tensor) -> None:
        callback(Progress(level, iteration, energies.detach(), theta.detach()))

    return report
