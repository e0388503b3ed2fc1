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
from medreg.inference.progress import Report

Objective = Callable[[Tensor], Tensor]  # θ (B, ...) → energy of every sample (B,)
Smoother = Callable[[Tensor], Tensor]  # update (B, ...) → smoothed update
Projection = Callable[[Tensor], Tensor]  # θ (B, ...) → the nearest allowed θ


def anywhere(theta: Tensor) -> Tensor:
    """The projection where every θ is allowed."""
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
    """Energies of a run and the best parameters of every sample so far.

    Attributes:
        theta: (B, ...) parameters of the lowest energy of each sample.
        lowest: (B,) those energies.
        energies: (B,) of every evaluation.
    """

    theta: Tensor
    lowest: Tensor
    energies: list[Tensor] = field(default_factory=list)

    @classmethod
    def begin(cls, theta: Tensor) -> Trace:
        """Nothing evaluated yet."""
        return cls(theta.detach().clone(), theta.new_full((theta.shape[0],), math.inf))

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
        self.energies.append(energies)

    def converged(self, effort: Effort) -> bool:
        """Whether every sample's energy has stopped falling."""
        if effort.tolerance <= 0 or len(self.energies) <= effort.window:
            return False
        before, now = self.energies[-1 - effort.window], self.energies[-1]
        return bool(((before - now) <= effort.tolerance * before.abs()).all())


class Minimiser(ABC):
    """A way to lower the energy of each sample of a batch from a starting point."""

    @abstractmethod
    def minimise(
        self,
        objective: Objective,
        theta: Tensor,
        *,
        effort: Effort,
        smooth: Smoother,
        report: Report,
        project: Projection = anywhere,
    ) -> Trace:
        """Run until the effort is spent.

        Args:
            objective: energies (B,) of parameters (B, ...), differentiable.
            theta: (B, ...) start, in voxels of the level.
            effort: iterations, step length, tolerance.
            smooth: applied to every update field.
            report: called after each evaluation.
            project: applied to θ after every update.
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
        objective: Objective,
        theta: Tensor,
        *,
        effort: Effort,
        smooth: Smoother,
        report: Report,
        project: Projection = anywhere,
    ) -> Trace:
        """Descend; the last update is evaluated too, and the best parameters of each sample are kept."""
        trace = Trace.begin(theta)
        rule = self.direction.begin(theta)
        for iteration in range(effort.iterations):
            energies, gradient = value_and_gradient(objective, theta)
            trace.add(theta, energies)
            report(iteration, energies)
            if trace.converged(effort):
                return trace
            fall = (1 - self.final) * iteration / max(effort.iterations - 1, 1)
            theta = project(theta - effort.learning_rate * (1 - fall) * smooth(rule(gradient)))
        with torch.no_grad():
            energies = objective(theta)
        trace.add(theta, energies)
        report(effort.iterations, energies)
        return trace


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
        objective: Objective,
        theta: Tensor,
        *,
        effort: Effort,
        smooth: Smoother,
        report: Report,
        project: Projection = anywhere,
    ) -> Trace:
        """Descend with torch's implementation on the sum of the energies."""
        trace = Trace.begin(theta)
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
            energies, gradient = value_and_gradient(objective, allowed)
            trace.add(allowed.clone(), energies)  # torch's implementation writes into its point
            report(len(trace.energies) - 1, energies)
            point.grad = smooth(gradient) * scale
            return energies.sum() * scale

        if effort.iterations:
            optimiser.step(closure)
        else:
            closure()
        return trace


def value_and_gradient(objective: Objective, theta: Tensor) -> tuple[Tensor, Tensor]:
    """Energies (B,) at θ and the gradient of their sum, neither on a graph."""
    with torch.enable_grad():
        point = theta.detach().requires_grad_(True)
        energies = objective(point)
        (gradient,) = torch.autograd.grad(energies.sum(), point)
    return energies.detach(), gradient
