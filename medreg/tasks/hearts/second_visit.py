"""Second visits: where a person lies this time, and how far measures scatter around a prediction."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medreg.errors import ConfigError, require_number, require_whole

Shift = tuple[int, int]


def shifted(shape: Tensor, shift: Shift) -> Tensor:
    """Return a heart (T, X, Y, Z) moved by voxels along X and Y; what comes in from outside is background."""
    found = torch.zeros_like(shape)
    to, source = zip(*(_overlap(n, by) for n, by in zip(shape.shape[1:3], shift, strict=True)), strict=True)
    found[:, to[0], to[1]] = shape[:, source[0], source[1]]
    return found


def _overlap(length: int, by: int) -> tuple[slice, slice]:
    return slice(max(by, 0), length + min(by, 0)), slice(max(-by, 0), length - max(by, 0))


def best_shift(truth: Tensor, found: Tensor, limits: Sequence[Shift]) -> Shift:
    """Return the shift of a predicted heart by which it lies best on another, by mean Dice over structures and frames.

    Source: released code of AgeHeart, Metric_utils.py (np_categorical_dice_optim): −5 to 4 voxels in the plane.

    Args:
        truth: (T, X, Y, Z) uint8.
        found: (T, X, Y, Z) uint8.
        limits: least and greatest shift along X and along Y, voxels.
    """
    structures = [place for place in range(1, int(truth.max()) + 1) if (truth == place).any()]
    tried = [
        (x, y) for x in range(limits[0][0], limits[0][1] + 1) for y in range(limits[1][0], limits[1][1] + 1)
    ]
    tried.sort(key=lambda shift: abs(shift[0]) + abs(shift[1]))  # of equals the smaller one
    scores = [_overlap_score(truth, shifted(found, shift), structures) for shift in tried]
    return tried[max(range(len(tried)), key=scores.__getitem__)]


def _overlap_score(truth: Tensor, found: Tensor, structures: Sequence[int]) -> float:
    """Sum of Dice over structures and frames."""
    total = 0.0
    for place in structures:
        one, other = (shape == place for shape in (truth, found))
        both, sizes = ((x.flatten(1).sum(1).double()) for x in (one & other, one.to(torch.uint8) + other))
        total += float((2 * both / sizes.clamp(min=1)).sum())
    return total


@dataclass(frozen=True)
class VisitSpread:
    """How a measure at a second visit scatters around what is predicted: the same person, scanned once more.

    A prediction is the measure of the first visit times the change that the model says, aged heart over reconstructed
    heart, so that what the model blurs cancels. Around it the second visit scatters by the noise of two scans and by
    what changes in a person beside age. No cross-sectional data tell how much, and second visits must not be looked at,
    so it is an assumption from outside, told by measure.

    Attributes:
        relative: measure → SD of the difference of two visits, as a share of the measure.
        absolute: measure → the same in its unit, of measures that are shares themselves.
        draws: predictions of a case, spread evenly over the normal distribution.

    Raises:
        ConfigError: a measure in both, or a negative spread.
    """

    relative: Mapping[str, float]
    absolute: Mapping[str, float]
    draws: int

    def __post_init__(self) -> None:
        require_whole("task.evaluation.spread.draws", self.draws, 0)
        twice = set(self.relative) & set(self.absolute)
        if twice:
            raise ConfigError(
                f"task.evaluation.spread has {', '.join(sorted(twice))} under relative and absolute; keep one."
            )
        for name, value in {**self.relative, **self.absolute}.items():
            require_number(f"the spread of {name} in task.evaluation.spread", value, least=0)

    def draw(
        self,
        first: Mapping[str, float],
        back: Mapping[str, float],
        aged: Mapping[str, float],
        step: Mapping[str, float],
        generator: torch.Generator,
    ) -> list[dict[str, float]]:
        """Return predicted measures of the second visit; those without a spread are NaN.

        Args:
            first: measures of the real first visit.
            back: of the heart as the model gives it back.
            aged: of the predicted heart.
            step: change of each measure from one group of age to the next, as the model has it. Ages are uniform within
                groups, so that what lies between two visits and between their groups differs by a triangular law of
                variance 1/6 group.
            generator: decides which draws of several measures go together.
        """
        if not self.draws:
            return []
        normal = torch.special.ndtri(_levels(self.draws))
        found: list[dict[str, float]] = [dict.fromkeys(first, float("nan")) for _ in range(self.draws)]
        for name, value in first.items():
            own = normal[torch.randperm(self.draws, generator=generator)].tolist()
            for each, z in zip(found, own, strict=True):
                if name in self.relative and back[name]:
                    best = value * aged[name] / back[name]
                    each[name] = best + math.hypot(self.relative[name] * best, step[name] / math.sqrt(6)) * z
                elif name in self.absolute:
                    best = value + aged[name] - back[name]
                    each[name] = best + math.hypot(self.absolute[name], step[name] / math.sqrt(6)) * z
        return found


def _levels(draws: int) -> Tensor:
    """Levels of evenly spread draws at which linear interpolation between them, as numpy does it, finds them again.

    They are k / (draws − 1); the first and last, whose quantiles are infinite, are half a step inside.
    """
    levels = (
        torch.linspace(0, 1, draws, dtype=torch.float64)
        if draws > 1
        else torch.tensor([0.5], dtype=torch.float64)
    )
    step = 0.5 / max(draws - 1, 1)
    return levels.clamp(step, 1 - step)
