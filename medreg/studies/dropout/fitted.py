"""What every method of the study leaves of a data set, and what a method is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medreg.inference.comparators.predictive import Predictive
from medreg.studies.dropout.problems import DTYPE, Problem


@dataclass(frozen=True)
class Fitted:
    """A fit of one data set.

    Attributes:
        predict: inputs (N,) → predictive distribution of y.
        gap: ln evidence − ELBO = KL(q ‖ posterior), nats; None where q has no density or the evidence is unknown.
        exact: input, grid (G,) → predictive density of y there, where it is better known than by `predict`.
        mass: point (D,), radius → probability of the ball; None where it was not asked for.
        facts: further numbers of the fit, such as an acceptance rate.
    """

    predict: Callable[[Tensor], Predictive]
    gap: float | None = None
    exact: Callable[[float, Tensor], Tensor] | None = None
    mass: Callable[[Tensor, float], float] | None = None
    facts: tuple[tuple[str, float], ...] = ()

    def density(self, at: float) -> tuple[Tensor, Tensor]:
        """Values of y and the predictive density of them at one input, (G,) each."""
        predictive = self.predict(torch.tensor([at], dtype=DTYPE))
        grid = predictive.grid(0)
        return grid, predictive.density(grid, 0) if self.exact is None else self.exact(at, grid)


class Method(ABC):
    """A way from data sets to predictive distributions; subclasses are dataclasses of their settings."""

    @abstractmethod
    def fit(self, problem: Problem, seed: int) -> Sequence[Fitted]:
        """Fit every data set of a problem; one result each, in order.

        Raises:
            CompositionError: the method is of another kind of problem.
        """
