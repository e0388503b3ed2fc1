"""What every method of the study leaves of a data set, and what a method is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from medreg.inference.comparators.predictive import Predictive
from medreg.studies.dropout.problems import Problem


@dataclass(frozen=True)
class Fitted:
    """A fit of one data set.

    Attributes:
        predict: inputs (N,) → predictive distribution of y.
        gap: ln evidence − ELBO = KL(q ‖ posterior), nats; None where q has no density or the evidence is unknown.
        modes: input → number of modes of the predictive density there; None counts those of `predict`.
        mass: point (D,), radius → probability of the ball; None where it was not asked for.
        facts: further numbers of the fit, such as an acceptance rate.
    """

    predict: Callable[[Tensor], Predictive]
    gap: float | None = None
    modes: Callable[[float], int] | None = None
    mass: Callable[[Tensor, float], float] | None = None
    facts: tuple[tuple[str, float], ...] = ()


class Method(ABC):
    """A way from data sets to predictive distributions; subclasses are dataclasses of their settings."""

    @abstractmethod
    def fit(self, problem: Problem, seed: int) -> Sequence[Fitted]:
        """Fit every data set of a problem; one result each, in order.

        Raises:
            CompositionError: the method is of another kind of problem.
        """
