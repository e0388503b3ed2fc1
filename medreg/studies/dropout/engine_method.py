"""The engine of `medreg.inference.variational` on every problem of the study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medreg.errors import NumericalError
from medreg.inference.comparators.linear_gaussian import LinearGaussian, NormalPosterior
from medreg.inference.comparators.predictive import Predictive
from medreg.inference.variational.analytic import GaussianTarget, maximise
from medreg.inference.variational.families import Structured
from medreg.inference.variational.fit import Posterior, fit
from medreg.inference.variational.mixture import NormalMixture
from medreg.studies.dropout.fitted import Fitted, Method
from medreg.studies.dropout.linear_methods import linear, of_normal
from medreg.studies.dropout.problems import DTYPE, LinearProblem, Problem, generator_of
from medreg.studies.dropout.training import train

CHUNK = 250  # draws at a time


@dataclass
class Variational(Method):
    """Variational inference with a family of the engine, all data sets side by side.

    Attributes:
        family: diagonal, structured, mixture or full.
        rank: of structured and mixture.
        components: of the mixture.
        mode: how samples of a draw are coupled.
        pairs: draws a step.
        steps: of Adam.
        lr: learning rate at the start, decayed by a cosine.
        warm: steps of Adam from a prior draw to a maximum of the joint density, where the mean starts; 0 starts it at
            zero, a saddle of every network.
        spread: rough size of a parameter's posterior; σ starts at a tenth of it.
        draws: of the predictive distribution where it has no closed form.
    """

    family: str = "structured"
    rank: int | None = None
    components: int | None = None
    mode: str = "paired"
    pairs: int = 4
    steps: int = 6000
    lr: float = 0.05
    warm: int = 0
    spread: float = 1.0
    draws: int = 2000

    def fit(self, problem: Problem, seed: int) -> Sequence[Fitted]:
        """One fit of all data sets."""
        found = fit(
            problem.log_joint, problem.dim, self.family, rank=self.rank, components=self.components, mode=self.mode,
            pairs=self.pairs, steps=self.steps, lr=self.lr, seed=seed, batch=len(problem.sets), scale=self.spread,
            start=self._start(problem, seed),
        )  # fmt: skip
        if isinstance(problem, LinearProblem):
            return self._linear(problem, found)
        return self._drawn(problem, found)

    def _start(self, problem: Problem, seed: int) -> Tensor | None:
        """MAP estimates (P, D), for a mixture another for each component (P, K, D)."""
        if self.warm == 0:
            return None
        count = self.components or 1
        begin = problem.prior_draws(count * len(problem.sets), generator_of(seed + 17))
        begin = begin.reshape(count, len(problem.sets), problem.dim)
        ends = train(lambda state: -problem.log_joint(state), begin, steps=self.warm, lr=0.02)
        return ends.transpose(0, 1) if self.family == "mixture" else ends[0]

    def _linear(self, problem: LinearProblem, found: Posterior) -> list[Fitted]:
        q = found.distribution
        if isinstance(q, NormalMixture):
            bounds = found.elbo
            return [self._mixture(problem, model, q, k, bounds) for k, model in enumerate(problem.models)]
        means, covariances = q.mean, q.covariance()
        pairs = zip(problem.models, means, covariances, strict=True)
        return [of_normal(problem, model, NormalPosterior(mean, c)) for model, mean, c in pairs]

    def _mixture(
        self, problem: LinearProblem, model: LinearGaussian, q: NormalMixture, number: int, bounds: Tensor
    ) -> Fitted:
        """The predictive of a mixture of normals is one, too; its bound is a Monte-Carlo estimate."""
        shares, centres = q.pi[number], q.normals.location[number]
        covariances = q.normals.covariance()[number]

        def predict(inputs: Tensor) -> Predictive:
            features = problem.features(inputs)
            spread = torch.einsum("nd,kde,ne->kn", features, covariances, features).clamp_min(0).sqrt()
            return Predictive(centres @ features.T, problem.noise, spread, shares)

        def mass(truth: Tensor, radius: float) -> float:
            parts = zip(shares.tolist(), centres, covariances, strict=True)
            return sum(share * NormalPosterior(c, s).mass(truth, radius) for share, c, s in parts)

        return Fitted(predict, model.log_evidence - bounds[number].item(), mass=mass)

    def _drawn(self, problem: Problem, found: Posterior) -> list[Fitted]:
        values = found.sample(self.draws)
        return [from_draws(problem, values[:, k]) for k in range(len(problem.sets))]


def from_draws(problem: Problem, parameters: Tensor, facts: tuple[tuple[str, float], ...] = ()) -> Fitted:
    """The predictive distribution of draws of parameters (S, D)."""

    def predict(inputs: Tensor) -> Predictive:
        parts = [problem.function(part, inputs) for part in parameters.split(CHUNK)]
        return Predictive(torch.cat(parts), problem.noise)

    return Fitted(predict, facts=facts)


@dataclass
class BestStructured(Method):
    """The best structured normal of a rank, by L-BFGS on the closed form of its bound: what the family can reach.

    Attributes:
        rank: r.
        starts: of which the best is taken.
        steps: of L-BFGS, at most.
    """

    rank: int = 1
    starts: int = 1
    steps: int = 1000

    def fit(self, problem: Problem, seed: int) -> Sequence[Fitted]:
        """Data set by data set."""
        own = linear(problem, self)
        return [self._fitted(own, model, seed) for model in own.models]

    def _fitted(self, problem: LinearProblem, model: LinearGaussian, seed: int) -> Fitted:
        target = GaussianTarget(model.posterior.mean, model.precision, model.log_evidence)
        climbs = [self._climb(target, problem.dim, seed + number) for number in range(self.starts)]
        found = [(model.elbo(q), q) for q in climbs if q is not None]
        if not found:
            raise NumericalError(
                f"No climb of a structured normal of rank {self.rank} came to an end; take more starts or another rank."
            )
        return of_normal(problem, model, max(found, key=lambda pair: pair[0])[1])

    def _climb(self, target: GaussianTarget, dim: int, seed: int) -> NormalPosterior | None:
        """Climb from one start; None where a line search ran so far away that the covariance was singular."""

        def family(number: int) -> Structured:
            generator, found = generator_of(seed), Structured(dim, self.rank, dtype=DTYPE)
            found.initialise(lambda shape: torch.randn(*shape, dim, generator=generator, dtype=DTYPE))
            return found

        try:
            q = maximise(target, family, starts=1, steps=self.steps)
        except torch.linalg.LinAlgError:
            return None
        return NormalPosterior(q.mean, q.covariance())
