"""Minimisers whose step length is known in voxels, so that it needs no tuning per image."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from medreg.errors import ConfigError, NumericalError
from medreg.inference.directions import Adaptive
from medreg.inference.objective import EnergyFunction
from medreg.inference.progress import Report, silent

Smoother = Callable[[Tensor], Tensor]  # update (B, ...) → smoothed update
Projection = Callable[[Tensor], Tensor]  # θ (B, ...) → the nearest allowed θ
Step = Callable[[Tensor, Tensor, int], Tensor]  # θ, its gradient, updates made so far → a new θ


def unchanged(theta: Tensor) -> Tensor:
    """The smoother of nothing, and the projection where every θ is allowed."""
    return theta


@dataclass(frozen=True)
class Effort:
    """When to stop.

    Attributes:
        iterations: largest number of updates.
        learning_rate: typical length of one update, voxels of the level.
        tolerance: stop once no sample's energy fell by more than this fraction of itself over `window`
            updates; 0 runs all iterations.
        window: updates to look back.
    """

    iterations: int
    learning_rate: float
    tolerance: float
    window: int = 10


@dataclass
class Trace:
    """Energies of a run, the best parameters of every sample so far, and all of them on demand.

    Attributes:
        theta: (B, ...) parameters of the lowest energy of each sample.
        lowest: (B,) those energies.
        thinning: evaluations from one kept θ to the next; 0 keeps none.
        energies: (B,) of every evaluation.
        kept: (B, ...) parameters of evaluations 0, thinning, 2·thinning, …
    """

    theta: Tensor
    lowest: Tensor
    thinning: int = 0
    energies: list[Tensor] = field(default_factory=list)
    kept: list[Tensor] = field(default_factory=list)

    @classmethod
    def begin(cls, theta: Tensor, *, thinning: int = 0) -> Trace:
        """Nothing evaluated yet."""
        return cls(theta.detach().clone(), theta.new_full((theta.shape[0],), math.inf), thinning)

    def add(self, theta: Tensor, energies: Tensor) -> None:
        """Record an evaluation; the caller does not write into θ afterwards.

        Raises:
            NumericalError: an energy is NaN or infinite.
        """
        energies = energies.detach()
        if not torch.isfinite(energies).all():
            raise NumericalError(
                f"The registration energy became {energies.tolist()} after {len(self.energies)} updates; "
                "check the images for NaN, or lower the learning rate (model.levels[*].learning_rate)."
            )
        better = energies < self.lowest
        if better.all():  # the usual case needs no copy
            self.theta = theta.detach()
        else:
            chosen = better.reshape(-1, *[1] * (theta.ndim - 1))
            self.theta = torch.where(chosen, theta.detach(), self.theta) if better.any() else self.theta
        self.lowest = torch.where(better, energies, self.lowest)
        if self.thinning and len(self.energies) % self.thinning == 0:
            self.kept.append(theta.detach())
        self.energies.append(energies)

    def converged(self, effort: Effort) -> bool:
        """Whether every sample's energy has stopped falling."""
        if effort.tolerance <= 0 or len(self.energies) <= effort.window:
            return False
        before, now = self.energies[-1 - effort.window], self.energies[-1]
        return bool(((before - now) <= effort.tolerance * before.abs()).all())


def descend(
    objective: EnergyFunction,
    theta: Tensor,
    *,
    effort: Effort,
    step: Step,
    report: Report = silent,
    thinning: int = 0,
) -> Trace:
    """Evaluate, record and step until the effort is spent; the last θ is evaluated too.

    The loop knows nothing of what a step is: one that goes downhill makes an optimiser, one that adds noise a
    sampler (with a tolerance of 0, so that it never ends early).

    Args:
        objective: energies (B,) of parameters (B, ...).
        theta: (B, ...) start.
        effort: iterations and tolerance; the learning rate is the business of the step.
        step: from θ, gradient and the number of updates made to a new θ, in a tensor of its own.
        report: told about every evaluation.
        thinning: evaluations from one θ kept in the trace to the next; 0 keeps the best alone.

    Raises:
        NumericalError: an energy is NaN or infinite.
    """
    trace = Trace.begin(theta, thinning=thinning)
    for iteration in range(effort.iterations):
        energies, gradient = objective.value_and_gradient(theta)
        trace.add(theta, energies)
        report(iteration, theta, energies)
        if trace.converged(effort):
            return trace
        theta = step(theta, gradient, iteration)
    with torch.no_grad():
        energies = objective(theta)
    trace.add(theta, energies)
    report(effort.iterations, theta, energies)
    return trace


class Minimiser(ABC):
    """A way to lower the energy of each sample of a batch from a starting point."""

    @abstractmethod
    def minimise(
        self,
        objective: EnergyFunction,
        theta: Tensor,
        *,
        effort: Effort,
        smooth: Smoother = unchanged,
        report: Report = silent,
        project: Projection = unchanged,
        thinning: int = 0,
    ) -> Trace:
        """Run until the effort is spent.

        Args:
            objective: energies (B,) of parameters (B, ...).
            theta: (B, ...) start, in voxels of the level.
            effort: iterations, step length, tolerance.
            smooth: applied to every update field.
            report: called after each evaluation.
            project: applied to θ after every update.
            thinning: evaluations from one θ kept in the trace to the next; 0 keeps the best alone.
        """


class Adam(Minimiser):
    """Descent along the directions of `Adaptive`, whose arguments it takes: θ ← θ − learning_rate · smooth(d).

    Args:
        betas: decay of the two moments; Kingma & Ba, ICLR 2015.
        damping: 0 = plain Adam; the larger, the nearer to descent of normalised length.
        final: the learning rate falls linearly, over the updates of a level, to this fraction of itself; 1 keeps
            it. Few long steps come near the minimum, only short ones settle in it.
    """

    def __init__(self, *, betas: tuple[float, float], damping: float, final: float = 1.0) -> None:
        if not 0 < final <= 1:
            raise ConfigError(f"minimiser.final is {final}; it must be above 0 and at most 1.")
        self.direction = Adaptive(betas=betas, damping=damping)
        self.final = final

    def minimise(
        self,
        objective: EnergyFunction,
        theta: Tensor,
        *,
        effort: Effort,
        smooth: Smoother = unchanged,
        report: Report = silent,
        project: Projection = unchanged,
        thinning: int = 0,
    ) -> Trace:
        """Descend; the last update is evaluated too, and the best parameters of each sample are kept."""
        rule = self.direction.begin(theta)

        def step(theta: Tensor, gradient: Tensor, iteration: int) -> Tensor:
            fall = (1 - self.final) * iteration / max(effort.iterations - 1, 1)
            return project(theta - effort.learning_rate * (1 - fall) * smooth(rule(gradient)))

        return descend(objective, theta, effort=effort, step=step, report=report, thinning=thinning)


class LBFGS(Minimiser):
    """Limited-memory BFGS with a strong-Wolfe line search, for few parameters (affine, coarse splines).

    The line search decides the step length, `learning_rate` only scales its first trial; update smoothing
    is applied to gradients, and energies are evaluated at projected points. Samples of a batch share one
    curvature estimate: register pairs one at a time.

    Args:
        history: updates that the curvature estimate remembers.
    """

    def __init__(self, *, history: int) -> None:
        self.history = history

    def minimise(
        self,
        objective: EnergyFunction,
        theta: Tensor,
        *,
        effort: Effort,
        smooth: Smoother = unchanged,
        report: Report = silent,
        project: Projection = unchanged,
        thinning: int = 0,
    ) -> Trace:
        """Descend with torch's implementation on the sum of the energies."""
        trace = Trace.begin(theta, thinning=thinning)
        point = theta.detach().clone().requires_grad_(True)
        # The energy is a mean over voxels: unscaled, its gradient would fall below every tolerance.
        scale = math.prod(theta.shape[1:])
        optimiser = torch.optim.LBFGS(
            [point],
            lr=effort.learning_rate,
            max_iter=max(effort.iterations, 1),
            history_size=self.history,
            tolerance_change=effort.tolerance,
            line_search_fn="strong_wolfe",
        )

        def closure() -> Any:
            allowed = project(point.detach())
            allowed = allowed.clone()  # torch's implementation writes into its point
            energies, gradient = objective.value_and_gradient(allowed)
            trace.add(allowed, energies)
            report(len(trace.energies) - 1, allowed, energies)
            point.grad = smooth(gradient) * scale
            return energies.sum() * scale

        if effort.iterations:
            optimiser.step(closure)
        else:
            closure()
        return trace
