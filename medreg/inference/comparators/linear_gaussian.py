"""Bayesian linear regression, whose posterior, evidence and predictive distribution are known in closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from medreg.errors import ConfigError, require_choice
from medreg.inference.comparators.predictive import Predictive

STRUCTURES = ("full", "diagonal")


@dataclass(frozen=True)
class NormalPosterior:
    """A normal distribution of weights.

    Attributes:
        mean: (D,).
        covariance: (D, D).
    """

    mean: Tensor
    covariance: Tensor

    def predict(self, design: Tensor, noise: float) -> Predictive:
        """The predictive distribution of y = Φw + e at the rows of a design (N, D): normal, in one component."""
        spread = ((design @ self.covariance) * design).sum(1).clamp_min(0).sqrt()
        return Predictive((design @ self.mean)[None], noise, spread[None])

    def mass(self, truth: Tensor, radius: float, *, draws: int = 200_000, seed: int = 0) -> float:
        """Probability of the ball of a radius around a point (D,): exact for D = 1, else by importance sampling."""
        if len(truth) == 1:
            scale = self.covariance[0, 0].sqrt()
            ends = torch.stack([truth[0] + radius, truth[0] - radius])
            above, below = torch.special.ndtr((ends - self.mean[0]) / scale)
            return (above - below).item()
        dim, generator = len(truth), torch.Generator().manual_seed(seed)
        direction = torch.randn(draws, dim, generator=generator, dtype=truth.dtype)
        length = torch.rand(draws, 1, generator=generator, dtype=truth.dtype) ** (1 / dim)
        points = truth + radius * length * direction / direction.norm(dim=1, keepdim=True)
        normal = torch.distributions.MultivariateNormal(self.mean, self.covariance)
        volume = math.pi ** (dim / 2) / math.gamma(dim / 2 + 1) * radius**dim
        return volume * normal.log_prob(points).exp().mean().item()


@dataclass(frozen=True)
class LinearGaussian:
    """y = Φw + e with e ~ N(0, noise² I) and w ~ N(0, prior² I).

    Attributes:
        design: Φ, (N, D).
        targets: y, (N,).
        noise: standard deviation of the noise, in the unit of y.
        prior: standard deviation of each weight.

    Source: Bishop, Pattern Recognition and Machine Learning, 2006, section 3.3.
    """

    design: Tensor
    targets: Tensor
    noise: float
    prior: float

    def __post_init__(self) -> None:
        if self.design.ndim != 2 or self.targets.shape != self.design.shape[:1]:
            raise ConfigError(
                f"A design (N, D) needs targets (N,); these are {tuple(self.design.shape)} and "
                f"{tuple(self.targets.shape)}."
            )
        for name in ("noise", "prior"):
            if not getattr(self, name) > 0:
                raise ConfigError(
                    f"{name} is {getattr(self, name):g}; a standard deviation must be positive."
                )

    @property
    def dim(self) -> int:
        """Number of weights."""
        return self.design.shape[1]

    @cached_property
    def precision(self) -> Tensor:
        """Λ = ΦᵀΦ/σ² + I/σ0², (D, D)."""
        unit = torch.eye(self.dim, dtype=self.design.dtype)
        return self.design.T @ self.design / self.noise**2 + unit / self.prior**2

    @cached_property
    def posterior(self) -> NormalPosterior:
        """The exact posterior."""
        root = torch.linalg.cholesky(self.precision)
        covariance = torch.cholesky_inverse(root)
        mean = torch.cholesky_solve((self.design.T @ self.targets)[:, None], root)[:, 0] / self.noise**2
        return NormalPosterior(mean, covariance)

    @cached_property
    def log_evidence(self) -> float:
        """Ln p(y) = ln N(y; 0, σ² I + σ0² ΦΦᵀ)."""
        count = len(self.targets)
        covariance = self.prior**2 * self.design @ self.design.T
        covariance = covariance + self.noise**2 * torch.eye(count, dtype=self.design.dtype)
        normal = torch.distributions.MultivariateNormal(torch.zeros_like(self.targets), covariance)
        return normal.log_prob(self.targets).item()

    def log_joint(self, weights: Tensor) -> Tensor:
        """Ln p(y, w) of weights (…, D), (…)."""
        residual = (self.targets - weights @ self.design.T) / self.noise
        constant = len(self.targets) * math.log(self.noise) + self.dim * math.log(self.prior)
        constant += 0.5 * (len(self.targets) + self.dim) * math.log(2 * math.pi)
        return -0.5 * residual.square().sum(-1) - 0.5 * (weights / self.prior).square().sum(-1) - constant

    def elbo(self, q: NormalPosterior) -> float:
        """E_q[ln p(y, w)] + H(q), exactly."""
        spread = 0.5 * (self.precision * q.covariance).sum()
        entropy = 0.5 * self.dim * (1 + math.log(2 * math.pi)) + 0.5 * torch.logdet(q.covariance)
        return (self.log_joint(q.mean) - spread + entropy).item()

    def mean_field(self) -> NormalPosterior:
        """The best product of normals: the exact mean, variances 1/Λ_jj (Bishop 2006, section 10.1.2)."""
        return NormalPosterior(self.posterior.mean, torch.diag(1 / self.precision.diagonal()))

    def laplace(self, structure: str = "full") -> NormalPosterior:
        """The Laplace approximation: exact if `full`, the mean-field optimum if `diagonal`, as −ln p is quadratic.

        Raises:
            ConfigError: another structure.
        """
        require_choice("structure", structure, STRUCTURES)
        return self.posterior if structure == "full" else self.mean_field()

    def scaled(self, factor: float) -> LinearGaussian:
        """The same model with its targets times a factor."""
        return LinearGaussian(self.design, factor * self.targets, self.noise, self.prior)
