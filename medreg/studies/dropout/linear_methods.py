"""Methods whose result on a linear problem is a closed form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medreg.errors import CompositionError, ConfigError
from medreg.inference.comparators.dropout import fit_linear
from medreg.inference.comparators.linear_gaussian import LinearGaussian, NormalPosterior
from medreg.inference.comparators.predictive import Predictive
from medreg.studies.dropout.fitted import Fitted, Method
from medreg.studies.dropout.problems import DTYPE, LinearProblem, Problem, generator_of


def linear(problem: Problem, method: Method) -> LinearProblem:
    """Refuse a problem that is not linear.

    Raises:
        CompositionError: naming the method.
    """
    if not isinstance(problem, LinearProblem):
        raise CompositionError(
            f"{type(method).__name__} is the closed form of linear problems; take another method."
        )
    return problem


def of_normal(problem: LinearProblem, model: LinearGaussian, q: NormalPosterior) -> Fitted:
    """A normal distribution of weights, its predictive and its distance from the posterior, exactly."""
    return Fitted(
        lambda inputs: q.predict(problem.features(inputs), problem.noise),
        max(0.0, model.log_evidence - model.elbo(q)),
        mass=q.mass,
    )


@dataclass
class Laplace(Method):
    """The Laplace approximation; of a linear model `full` is the exact posterior, `diagonal` the mean-field optimum.

    Attributes:
        structure: full or diagonal.
    """

    structure: str = "full"

    def fit(self, problem: Problem, seed: int) -> Sequence[Fitted]:
        """In closed form."""
        own = linear(problem, self)
        return [of_normal(own, model, model.laplace(self.structure)) for model in own.models]


@dataclass
class Exact(Laplace):
    """The exact posterior."""


@dataclass
class LinearDropout(Method):
    """MC dropout on the weights, at its optimum over all masks.

    Attributes:
        probability: p.
        inverted: whether what is kept is divided by 1 − p.
        weight_decay: λ of the loss mean (y − f)² + λ‖m‖² as it is commonly chosen, whatever the prior; None matches the
            prior.
        draws: masks of the predictive distribution where 2^D are too many.
    """

    probability: float = 0.5
    inverted: bool = True
    weight_decay: float | None = None
    draws: int = 2000

    def fit(self, problem: Problem, seed: int) -> Sequence[Fitted]:
        """In closed form; masks are drawn where there are more than 2^16."""
        own = linear(problem, self)
        if self.draws < 1:
            raise ConfigError(f"draws is {self.draws}; MC dropout needs at least one mask.")
        return [self._fitted(own, model, seed) for model in own.models]

    def _fitted(self, problem: LinearProblem, model: LinearGaussian, seed: int) -> Fitted:
        decay = decay_of(self.weight_decay, len(model.targets), model.noise)
        q = fit_linear(model, self.probability, decay=decay, inverted=self.inverted)

        def predict(inputs: Tensor) -> Predictive:
            features = problem.features(inputs)
            return q.predict(features, problem.noise, count=self.draws, generator=generator_of(seed))

        def exact(at: float, grid: Tensor) -> Tensor:
            return q.density(problem.features(torch.tensor([at], dtype=DTYPE))[0], problem.noise, grid)

        return Fitted(predict, exact=exact, mass=q.mass if q.enumerable else None)


def decay_of(weight_decay: float | None, count: int, noise: float) -> float | None:
    """Return the decay in nats of the loss mean (y − f)² + λ‖θ‖² times N/(2σ²); None stays None."""
    return None if weight_decay is None else weight_decay * count / (2 * noise**2)
