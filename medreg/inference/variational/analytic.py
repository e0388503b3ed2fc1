"""The bound without sampling where the log density is quadratic: linear-Gaussian models, limits of a family."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from medreg.errors import ConfigError
from medreg.inference.variational.distribution import Distribution
from medreg.inference.variational.families import Family
from medreg.inference.variational.full import FullNormal
from medreg.inference.variational.normal import LowRankNormal


@dataclass(frozen=True)
class GaussianTarget:
    """Ln p(D, θ) = ln Z − ½ (θ − m)ᵀ Λ (θ − m) − D/2 ln 2π + ½ ln det Λ: the posterior N(m, Λ⁻¹), the evidence Z.

    Args:
        mean: m, (D,).
        precision: Λ, (D, D), symmetric and positive definite.
        log_evidence: ln Z in nats.
    """

    mean: Tensor
    precision: Tensor
    log_evidence: float = 0.0

    @classmethod
    def of_regression(cls, features: Tensor, targets: Tensor, noise: float, prior: float) -> GaussianTarget:
        """The posterior of weights: y = Φ w + e, e ~ N(0, noise² I), w ~ N(0, prior² I).

        Args:
            features: Φ, (N, D).
            targets: y, (N,).
            noise: standard deviation, in the unit of y.
            prior: standard deviation of the weights.
        """
        count, dim = features.shape
        identity = torch.eye(dim, dtype=features.dtype, device=features.device)
        precision = features.mT @ features / noise**2 + identity / prior**2
        mean = torch.linalg.solve(precision, features.mT @ targets / noise**2)
        fitted = ((targets - features @ mean) / noise).square().sum() + (mean / prior).square().sum()
        logs = count * math.log(2 * math.pi * noise**2) + 2 * dim * math.log(prior)
        evidence = -0.5 * (fitted + logs + torch.logdet(precision))
        return cls(mean, precision, float(evidence))

    def log_density(self, values: Tensor) -> Tensor:
        """Ln p(D, θ), (n, D) → (n,)."""
        away = values - self.mean
        return self._constant() - 0.5 * ((away @ self.precision) * away).sum(-1)

    def expected(self, q: Distribution) -> Tensor:
        """E_q[ln p(D, θ)] in nats, for a normal q over one vector.

        Raises:
            ConfigError: q is a mixture.
        """
        away = q.mean - self.mean
        if isinstance(q, LowRankNormal):
            spread = (
                self.precision.diagonal() @ torch.exp(2 * q.log_std)
                + ((q.factor @ self.precision) * q.factor).sum()
            )
        elif isinstance(q, FullNormal):
            spread = (self.precision * q.covariance()).sum()
        else:
            raise ConfigError("The bound in closed form is of normal families; a mixture has to be sampled.")
        return self._constant() - 0.5 * (spread + away @ self.precision @ away)

    def elbo(self, q: Distribution) -> Tensor:
        """The bound in nats."""
        return self.expected(q) + q.entropy()

    def gap(self, q: Distribution) -> Tensor:
        """KL(q ‖ posterior) in nats: how far the bound is below the log evidence."""
        return self.log_evidence - self.elbo(q)

    def _constant(self) -> Tensor:
        dim = len(self.mean)
        return self.log_evidence - 0.5 * dim * math.log(2 * math.pi) + 0.5 * torch.logdet(self.precision)


def maximise(
    target: GaussianTarget, family: Callable[[int], Family], *, starts: int = 3, steps: int = 2000
) -> Distribution:
    """The best distribution that a family holds, by L-BFGS on the closed form of its bound.

    Args:
        target: the quadratic log density.
        family: makes the initialised family of a start, from its number.
        starts: how many, of which the best is taken; a low rank has local optima.
        steps: of L-BFGS, at most, for each.
    """
    if starts < 1:
        raise ConfigError(f"starts is {starts}; take at least one.")
    found = [_climb(target, family(number), steps) for number in range(starts)]
    return max(found, key=lambda q: float(target.elbo(q)))


def _climb(target: GaussianTarget, family: Family, steps: int) -> Distribution:
    optimiser = torch.optim.LBFGS(
        family.parameters(), max_iter=steps, max_eval=2 * steps, tolerance_grad=1e-11, tolerance_change=1e-15,
        history_size=50, line_search_fn="strong_wolfe",
    )  # fmt: skip

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = -target.elbo(family.distribution())
        loss.backward()
        return loss

    optimiser.step(closure)
    return family.distribution().detached()
