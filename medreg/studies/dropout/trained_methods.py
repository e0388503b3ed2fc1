"""Methods that are trained: deep ensembles of any problem; dropout, Laplace and the reference of networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medreg.errors import CompositionError
from medreg.inference.comparators.dropout import draw_masks
from medreg.inference.comparators.hamiltonian import HamiltonianRun, hamiltonian
from medreg.inference.comparators.laplace import fit_laplace
from medreg.inference.comparators.predictive import Predictive
from medreg.studies.dropout.engine_method import from_draws
from medreg.studies.dropout.fitted import Fitted, Method
from medreg.studies.dropout.linear_methods import decay_of
from medreg.studies.dropout.problems import DTYPE, NetworkProblem, Problem, generator_of
from medreg.studies.dropout.training import train


def network(problem: Problem, method: Method) -> NetworkProblem:
    """Refuse a problem that is no network.

    Raises:
        CompositionError: naming the method.
    """
    if not isinstance(problem, NetworkProblem):
        raise CompositionError(
            f"{type(method).__name__} is a method of networks; take that of linear problems."
        )
    return problem


@dataclass
class Ensemble(Method):
    """A deep ensemble: members from different draws of the prior, trained alone, equal weights.

    Attributes:
        members: M.
        weight_decay: λ of the loss mean (y − f)² + λ‖θ‖²; None matches the prior, so that members are MAP estimates.
        steps: of Adam.
        lr: learning rate at the start.
    """

    members: int = 5
    weight_decay: float | None = None
    steps: int = 3000
    lr: float = 0.02

    def fit(self, problem: Problem, seed: int) -> Sequence[Fitted]:
        """Train all members of all data sets side by side."""
        sets = len(problem.sets)
        begin = problem.prior_draws(self.members * sets, generator_of(seed + 29))
        decay = _decay(self.weight_decay, problem)

        def loss(state: Tensor) -> Tensor:
            return problem.misfit(problem.function(state, problem.inputs)) + decay * state.square().sum(-1)

        ends = train(loss, begin.reshape(self.members, sets, problem.dim), steps=self.steps, lr=self.lr)
        return [from_draws(problem, ends[:, k]) for k in range(sets)]


@dataclass
class NetworkDropout(Method):
    """MC dropout of the hidden units, with inverted scaling.

    Attributes:
        probability: p.
        weight_decay: as in `Ensemble`.
        masks: a step.
        steps: of Adam.
        lr: learning rate at the start.
        draws: masks of the predictive distribution.
    """

    probability: float = 0.1
    weight_decay: float | None = None
    masks: int = 8
    steps: int = 3000
    lr: float = 0.02
    draws: int = 2000

    def fit(self, problem: Problem, seed: int) -> Sequence[Fitted]:
        """Train with fresh masks at every step, then draw masks."""
        own, sets = network(problem, self), len(problem.sets)
        generator, keep = generator_of(seed + 41), 1 - self.probability
        begin = own.prior_draws(sets, generator)
        decay = _decay(self.weight_decay, own)

        def factors(count: int) -> Tensor:
            drawn = draw_masks(count * sets, own.hidden, self.probability, generator, dtype=DTYPE)
            return drawn.reshape(count, sets, own.hidden) / keep

        def loss(state: Tensor) -> Tensor:
            answers = own.masked(state.expand(self.masks, *state.shape), own.inputs, factors(self.masks))
            return own.misfit(answers).mean(0) + decay * state.square().sum(-1)

        ends = train(loss, begin, steps=self.steps, lr=self.lr)
        masks = factors(self.draws)
        return [self._fitted(own, ends[k], masks[:, k]) for k in range(sets)]

    def _fitted(self, problem: NetworkProblem, parameters: Tensor, factors: Tensor) -> Fitted:
        def predict(inputs: Tensor) -> Predictive:
            parts = factors.split(250)
            found = [problem.masked(parameters.expand(len(p), -1), inputs, p) for p in parts]
            return Predictive(torch.cat(found), problem.noise)

        return Fitted(predict)


@dataclass
class NetworkLaplace(Method):
    """Gauss-Newton Laplace around a MAP, with linearised predictions.

    Attributes:
        structure: full or diagonal.
        last_layer: whether only the weights and the bias of the last layer are random.
        steps: of Adam, to the MAP.
        lr: learning rate at the start.
    """

    structure: str = "full"
    last_layer: bool = False
    steps: int = 3000
    lr: float = 0.02

    def fit(self, problem: Problem, seed: int) -> Sequence[Fitted]:
        """Train to the MAP, then approximate there."""
        own = network(problem, self)
        begin = own.prior_draws(len(own.sets), generator_of(seed + 29))
        ends = train(lambda state: -own.log_joint(state), begin, steps=self.steps, lr=self.lr)
        chosen = torch.ones(own.dim, dtype=torch.bool)
        chosen[: 2 * own.hidden] = not self.last_layer
        return [
            Fitted(
                fit_laplace(
                    own.function, ends[k], one.inputs, noise=own.noise, prior=own.prior,
                    structure=self.structure, chosen=chosen,
                ).predict
            )
            for k, one in enumerate(own.sets)
        ]  # fmt: skip


@dataclass
class Hamiltonian(Method):
    """The reference: many long chains of Hamiltonian Monte Carlo, from draws of the prior that were trained first.

    Attributes:
        chains: of every data set.
        samples: kept of every chain.
        warm_up: transitions before.
        thin: transitions a kept sample.
        most: leapfrog steps of a trajectory.
        warm: steps of Adam from the prior towards the posterior, so that no chain spends its warm-up on the way.
    """

    chains: int = 8
    samples: int = 500
    warm_up: int = 500
    thin: int = 2
    most: int = 60
    warm: int = 500

    def fit(self, problem: Problem, seed: int) -> Sequence[Fitted]:
        """Sample all chains of all data sets side by side."""
        sets, generator = len(problem.sets), generator_of(seed + 53)
        shape = (self.chains, sets, problem.dim)
        begin = problem.prior_draws(self.chains * sets, generator).reshape(shape)
        begin = train(lambda state: -problem.log_joint(state), begin, steps=self.warm, lr=0.02)

        def log_density(flat: Tensor) -> Tensor:
            return problem.log_joint(flat.reshape(shape)).flatten()

        run = hamiltonian(
            log_density, begin.reshape(-1, problem.dim), generator=generator, samples=self.samples,
            warm_up=self.warm_up, thin=self.thin, most=self.most, step_size=0.01,
        )  # fmt: skip
        return [self._fitted(problem, run, k) for k in range(sets)]

    def _fitted(self, problem: Problem, run: HamiltonianRun, number: int) -> Fitted:
        values = run.samples.reshape(len(run.samples), self.chains, len(problem.sets), problem.dim)[
            :, :, number
        ]
        facts = (("acceptance", run.acceptance), ("r_hat", self._r_hat(problem, values)))
        return from_draws(problem, values.flatten(0, 1), facts)

    def _r_hat(self, problem: Problem, values: Tensor) -> float:
        """Largest split R-hat of the predictions at the points (Gelman et al., Bayesian Data Analysis, 2013, 11.4)."""
        predictions = problem.function(values, problem.looked_at)
        half = len(predictions) // 2
        if half < 2:
            return float("nan")
        parts = torch.cat([predictions[:half], predictions[half : 2 * half]], dim=1)
        within, between = parts.var(0).mean(0), parts.mean(0).var(0)
        return ((half - 1) / half + between / within).sqrt().max().item()


def _decay(weight_decay: float | None, problem: Problem) -> float:
    count = problem.inputs.shape[1]
    found = decay_of(weight_decay, count, problem.noise)
    return 1 / (2 * problem.prior**2) if found is None else found
