"""Laplace approximations of regressions with Gaussian noise: a normal around the MAP, curvature by Gauss-Newton.

For −ln p = ‖y − f(θ)‖²/(2σ²) + ‖θ‖²/(2σ0²) the Gauss-Newton precision is JᵀJ/σ² + I/σ0² with J = ∂f/∂θ at the MAP; the
prediction is linearised there, f(x, θ) ≈ f(x, θ*) + J(x)(θ − θ*) (Immer et al., AISTATS 2021), and so normal.
For networks of other kinds `medreg.inference.comparators.laplace_torch` asks the library.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import jacrev

from medreg.errors import require_choice
from medreg.inference.comparators.linear_gaussian import STRUCTURES
from medreg.inference.comparators.predictive import Predictive

Function = Callable[[Tensor, Tensor], Tensor]  # (parameters (D,), inputs (N, …)) → (N,)


@dataclass(frozen=True)
class GaussNewtonLaplace:
    """A normal approximation around a MAP, with linearised predictions.

    Attributes:
        function: f(θ, x), (N,).
        parameters: θ*, (D,).
        chosen: (D,) boolean, the random parameters, such as those of the last layer; the others stay at θ*.
        covariance: (C, C), of the chosen ones.
        noise: standard deviation of the noise.
    """

    function: Function
    parameters: Tensor
    chosen: Tensor
    covariance: Tensor
    noise: float

    def predict(self, inputs: Tensor) -> Predictive:
        """The linearised predictive distribution at inputs (N, …)."""
        jacobian = _jacobian(self.function, self.parameters, inputs)[:, self.chosen]
        spread = ((jacobian @ self.covariance) * jacobian).sum(1).clamp_min(0).sqrt()
        return Predictive(self.function(self.parameters, inputs).detach()[None], self.noise, spread[None])


def fit_laplace(
    function: Function,
    parameters: Tensor,
    inputs: Tensor,
    *,
    noise: float,
    prior: float,
    structure: str = "full",
    chosen: Tensor | None = None,
) -> GaussNewtonLaplace:
    """Approximate the posterior around a MAP.

    Args:
        function: f(θ, x), differentiable.
        parameters: θ*, the MAP, (D,).
        inputs: of the training data.
        noise: σ.
        prior: σ0, of every parameter.
        structure: full, or diagonal.
        chosen: (D,) boolean; None makes all parameters random.

    Raises:
        ConfigError: another structure.
    """
    require_choice("structure", structure, STRUCTURES)
    mask = torch.ones_like(parameters, dtype=torch.bool) if chosen is None else chosen
    jacobian = _jacobian(function, parameters, inputs)[:, mask]
    precision = jacobian.T @ jacobian / noise**2
    precision = precision + torch.eye(len(precision), dtype=precision.dtype) / prior**2
    if structure == "diagonal":
        covariance = torch.diag(1 / precision.diagonal())
    else:
        covariance = torch.cholesky_inverse(torch.linalg.cholesky(precision))
    return GaussNewtonLaplace(function, parameters.detach(), mask, covariance, noise)


def _jacobian(function: Function, parameters: Tensor, inputs: Tensor) -> Tensor:
    found: Tensor = jacrev(function)(parameters.detach(), inputs)
    return found.detach()
