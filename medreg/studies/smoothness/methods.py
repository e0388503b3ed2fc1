"""Ways to find the λ of a smallest objective: by its gradient, over a grid, or one coordinate at a time."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from medreg.errors import ConfigError
from medreg.models.conditional import SmoothnessRange
from medreg.studies.smoothness.bounds import Bound
from medreg.studies.smoothness.problem import Problem


@dataclass(frozen=True)
class TracePoint:
    """One λ that was tried.

    Attributes:
        step: 0 is the start.
        evaluations: passes through the network so far.
        objective: T.
        weights: λ of region 0, 1, …
    """

    step: int
    evaluations: int
    objective: float
    weights: tuple[float, ...]


@dataclass
class Trace:
    """All λ that were tried, in order."""

    points: list[TracePoint] = field(default_factory=list)

    def add(self, problem: Problem, objective: float, weights: Tensor) -> None:
        """Append a point."""
        values = tuple(float(value) for value in weights.detach())
        self.points.append(TracePoint(len(self.points), problem.effort.evaluations, objective, values))

    @property
    def first(self) -> TracePoint:
        """The start."""
        return self.points[0]

    @property
    def best(self) -> TracePoint:
        """The first of the points with the lowest objective; never worse than the start."""
        return min(self.points, key=lambda point: point.objective)


class SearchMethod(ABC):
    """A minimiser of `Problem.value` over λ.

    Args:
        start: λ of region 0, 1, … to begin at; the last one holds for the regions that follow. None begins at
            the model's own.
    """

    def __init__(self, start: Sequence[float] | None) -> None:
        self.given = None if start is None else [float(value) for value in start]
        if self.given is not None and not (self.given and all(map(math.isfinite, self.given))):
            raise ConfigError(f"start is {start}; give finite numbers, or null for the model's own λ.")

    def start(self, problem: Problem) -> Tensor:
        """Return the start (K,)."""
        given = self.given or [problem.model.smoothness]
        values = [*given, *[given[-1]] * problem.variables][: problem.variables]
        return torch.tensor(values)

    @abstractmethod
    def minimise(self, problem: Problem, trace: Trace) -> None:
        """Search, and add every λ that is measured to the trace; the first is the start.

        Raises:
            NumericalError: an objective is not finite; the trace holds what was measured before.
        """


class AdamSearch(SearchMethod):
    """Gradient descent by Adam through the frozen network (released Optimize_mean.py: 3e-4, 400, 4e-6, free).

    With 3e-4 and 400 steps no λ can move by more than about 0.12.

    Args:
        learning_rate: length of the first steps, in variables of the bound.
        iterations: largest number of steps.
        tolerance: stop once |T_t − T_{t−1}| falls below it; 0 never does.
        patience: so many times in a row; 1 in the released code.
        bound: how λ stays within the range.
        start: as `SearchMethod`.
    """

    def __init__(
        self,
        *,
        learning_rate: float,
        iterations: int,
        tolerance: float,
        patience: int,
        bound: Bound,
        start: Sequence[float] | None,
    ) -> None:
        super().__init__(start)
        if not learning_rate > 0 or iterations < 0 or patience < 1:
            raise ConfigError(
                f"learning_rate ({learning_rate}) must be positive, iterations ({iterations}) at least 0 and patience "
                f"({patience}) at least 1."
            )
        self.learning_rate, self.iterations, self.tolerance = learning_rate, iterations, tolerance
        self.patience, self.bound = patience, bound

    def minimise(self, problem: Problem, trace: Trace) -> None:
        """Descend until the objective stands still."""
        trained = problem.model.smoothness_range
        point = self.bound.start(self.start(problem), trained).requires_grad_(True)
        optimiser = torch.optim.Adam([point], lr=self.learning_rate)
        still = 0
        for step in range(self.iterations):
            weights = self.bound.weights(point, trained)
            value, gradient = problem.value_and_gradient(weights.detach())
            trace.add(problem, value, weights)
            if step and abs(value - trace.points[-2].objective) < self.tolerance:
                still += 1
            else:
                still = 0
            if still >= self.patience:
                return
            (point.grad,) = torch.autograd.grad(weights, point, gradient)
            optimiser.step()
            with torch.no_grad():
                point.copy_(self.bound.project(point, trained))
        weights = self.bound.weights(point.detach(), trained)
        trace.add(problem, problem.value(weights), weights)


class GridSearch(SearchMethod):
    """One λ for all regions, each value of a grid over the range of training.

    Args:
        step: distance of the values.
        start: as `SearchMethod`; measured first, for comparison.
    """

    def __init__(self, *, step: float, start: Sequence[float] | None) -> None:
        super().__init__(start)
        self.step = _positive(step)

    def minimise(self, problem: Problem, trace: Trace) -> None:
        """Try every value of the grid."""
        first = self.start(problem)
        trace.add(problem, problem.value(first), first)
        for value in grid(problem.model.smoothness_range, self.step):
            weights = torch.full_like(first, value)
            trace.add(problem, problem.value(weights), weights)


class CoordinateSearch(SearchMethod):
    """One region after the other over a grid, the others kept, until a whole round changes nothing.

    Args:
        step: distance of the values of the grid.
        rounds: largest number of rounds over all regions.
        start: as `SearchMethod`.
    """

    def __init__(self, *, step: float, rounds: int, start: Sequence[float] | None) -> None:
        super().__init__(start)
        self.step, self.rounds = _positive(step), rounds

    def minimise(self, problem: Problem, trace: Trace) -> None:
        """Descend along coordinates; λ that were tried before are not tried again."""
        first = self.start(problem)
        trace.add(problem, problem.value(first), first)
        tried = {trace.first.weights}
        values = grid(problem.model.smoothness_range, self.step)
        for _ in range(self.rounds):
            before = trace.best
            for region in range(problem.variables):
                base = torch.tensor(trace.best.weights)
                for value in values:
                    weights = base.clone()
                    weights[region] = value
                    key = tuple(float(number) for number in weights)
                    if key in tried:
                        continue
                    tried.add(key)
                    trace.add(problem, problem.value(weights), weights)
            if trace.best == before:
                break


def grid(trained: SmoothnessRange, step: float) -> list[float]:
    """Values from the lower end of the range in steps; the upper end is one of them."""
    count = max(1, round((trained.high - trained.low) / step))
    return [trained.low + (trained.high - trained.low) * number / count for number in range(count + 1)]


def _positive(step: float) -> float:
    if not step > 0:
        raise ConfigError(f"step is {step}; give a positive distance of the values of λ, such as 0.05.")
    return step
