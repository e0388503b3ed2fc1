"""Estimators of the evidence lower bound ELBO(q) = E_q[ln p(D, θ)] + H(q) and of its gradient.

closed: the entropy in closed form; the least noise far from the optimum. Normal families only.
sampled: −ln q of the samples, differentiated through the samples and the parameters (the total derivative).
stl: the same value, with the parameters inside ln q held fixed, so only the path through the samples is
    differentiated ("sticking the landing", Roeder et al. 2017, arXiv 1703.09194): its noise vanishes where q is the
    posterior. In a mixture it acts within each component, and the weights π_k of the stratified samples give
    ∂ELBO/∂α_k = π_k (ℓ_k − Σ_j π_j ℓ_j) with ℓ_k = E_{q_k}[ln p − ln q].
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor

from medreg.errors import ConfigError, require_choice
from medreg.inference.variational.distribution import Distribution, Draws
from medreg.inference.variational.mixture import NormalMixture

Estimator = Literal["closed", "sampled", "stl"]
ESTIMATORS: tuple[str, ...] = get_args(Estimator)


def check_estimator(estimator: str | None, distribution: Distribution) -> str:
    """Return the estimator that is meant; none is the closed form where there is one, else stl.

    Raises:
        ConfigError: an unknown name, or the closed form of a mixture.
    """
    mixed = isinstance(distribution, NormalMixture)
    if estimator is None:
        return "stl" if mixed else "closed"
    require_choice("estimator", estimator, ESTIMATORS)
    if mixed and estimator == "closed":
        raise ConfigError(
            "estimator=closed needs an entropy in closed form, which a mixture has not; take sampled or stl."
        )
    return estimator


def elbo(draws: Draws, log_density: Tensor, estimator: str) -> Tensor:
    """The bound of every problem, (*B), with a graph.

    Args:
        draws: joint samples.
        log_density: ln p(D, θ) of the samples, (n, *B).
        estimator: closed, sampled or stl.
    """
    if estimator == "closed":
        return (draws.weights * log_density).sum(0) + draws.distribution.entropy()
    log_q = draws.log_q_of_path if estimator == "stl" else -draws.neg_log_q
    return (draws.weights * (log_density - log_q)).sum(0)


class _Known(torch.autograd.Function):
    """A density whose value and gradient somebody else has worked out."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, log_density: Tensor, gradient: Tensor) -> Tensor:
        ctx.save_for_backward(gradient)
        return log_density

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return grads[0].unsqueeze(-1) * gradient, None, None


def with_gradient(values: Tensor, log_density: Tensor, gradient: Tensor) -> Tensor:
    """Join ln p (n, *B) and its gradient (n, *B, D), both worked out elsewhere, to the graph of the samples."""
    return _Known.apply(values, log_density.detach().clone(), gradient.detach())
