"""In which order the levels of a pyramid are trained."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from medreg.errors import ConfigError


@dataclass(frozen=True)
class Stage:
    """What one training step computes and changes.

    Attributes:
        factors: factor of the loss of every level that is computed, coarse to fine.
        trained: levels whose parameters have gradients.
        begins: whether a new level enters with this step, and with it a fresh optimiser.
    """

    factors: tuple[float, ...]
    trained: tuple[int, ...]
    begins: bool = False


class Schedule(ABC):
    """From the number of a step to its stage."""

    @abstractmethod
    def stage(self, step: int, *, levels: int) -> Stage:
        """Stage of a step, counted from 0, of a pyramid with so many levels."""


class Together(Schedule):
    """All levels at once, the sum of their losses (ours; the releases train level after level).

    Args:
        factors: of every level's loss, coarse to fine; None takes 1 for all.
    """

    def __init__(self, factors: Sequence[float] | None = None) -> None:
        self.factors = None if factors is None else tuple(float(factor) for factor in factors)

    def stage(self, step: int, *, levels: int) -> Stage:
        """The same for every step.

        Raises:
            ConfigError: another number of factors than levels.
        """
        factors = self.factors or (1.0,) * levels
        if len(factors) != levels:
            raise ConfigError(
                f"task.schedule.factors has {len(factors)} entries for {levels} levels; give one a level."
            )
        return Stage(factors, tuple(range(levels)))


class LevelByLevel(Schedule):
    """One level after another, each with its own loss alone, as released.

    When a level enters, the levels below it keep their weights through its step `freeze` and are trained with
    it afterwards; the optimiser starts afresh. Source: CSAIN's train.py (120 000, 160 000 and 240 000 steps,
    3000 frozen).

    Args:
        steps: of every level, coarse to fine; the last level goes on as long as training does.
        freeze: index of the last step of a level at which the levels below do not change.
    """

    def __init__(self, steps: Sequence[int], *, freeze: int) -> None:
        self.steps, self.freeze = tuple(steps), freeze

    def stage(self, step: int, *, levels: int) -> Stage:
        """Only the level whose turn it is has a loss.

        Raises:
            ConfigError: another number of steps than levels.
        """
        if len(self.steps) != levels:
            raise ConfigError(
                f"task.schedule.steps has {len(self.steps)} entries for {levels} levels; give one a level."
            )
        starts = (0, *accumulate(self.steps[:-1]))
        level = max(number for number, start in enumerate(starts) if step >= start)
        inside = step - starts[level]
        trained = (level,) if inside <= self.freeze else tuple(range(level + 1))
        return Stage((0.0,) * level + (1.0,), trained, begins=inside == 0 and level > 0)
