"""What every family of distributions offers to estimators, fits and modules."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from medreg.inference.variational.modes import Noise, draw_noise


class Distribution(ABC):
    """A distribution over vectors (*B, D) of independent problems *B, made of tensors that carry gradients."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """(*B, D)."""

    @property
    @abstractmethod
    def rank(self) -> int:
        """Number of directions that all entries share."""

    @property
    @abstractmethod
    def mean(self) -> Tensor:
        """(*B, D)."""

    @abstractmethod
    def variance(self) -> Tensor:
        """Of each entry, (*B, D)."""

    @abstractmethod
    def covariance(self) -> Tensor:
        """(*B, D, D); for vectors short enough."""

    @abstractmethod
    def values(self, noise: Noise) -> Tensor:
        """Samples from noise, (n, *B, D): draws outermost, then the half, its mirror, and components innermost."""

    @abstractmethod
    def weights(self, noise: Noise) -> Tensor:
        """Of the samples, (n, *B); they sum to one over n."""

    @abstractmethod
    def neg_log_q(self, noise: Noise, values: Tensor) -> Tensor:
        """−ln q of the samples that `values` made of the noise, (n, *B), differentiable through both arguments."""

    @abstractmethod
    def log_prob(self, values: Tensor) -> Tensor:
        """Ln q at any point: (n, *B, D) → (n, *B), or (*B, D) → (*B)."""

    @abstractmethod
    def entropy(self) -> Tensor:
        """In nats, (*B).

        Raises:
            ConfigError: there is no closed form.
        """

    @abstractmethod
    def expected_normal(self, location: Tensor, scale: Tensor) -> Tensor:
        """E_q[ln N(θ; location, diag(scale²))] in closed form, (*B); both arguments broadcast to (*B, D)."""

    @abstractmethod
    def detached(self) -> Distribution:
        """The same distribution without gradients of its parameters."""

    @abstractmethod
    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Independent samples, (count, *B, D), without gradient."""

    def draw(self, mode: str, generator: torch.Generator, pairs: int = 1) -> Draws:
        """Joint samples by one of the modes, differentiable in the parameters of the distribution."""
        noise = draw_noise(mode, pairs, self.shape, self.rank, self.mean, generator)
        return Draws(self, noise)


@dataclass(frozen=True)
class Draws:
    """Joint samples, their weights and −ln q; the last is worked out when first asked for."""

    distribution: Distribution
    noise: Noise

    @cached_property
    def values(self) -> Tensor:
        """(n, *B, D)."""
        return self.distribution.values(self.noise)

    @cached_property
    def weights(self) -> Tensor:
        """(n, *B), summing to one over n."""
        return self.distribution.weights(self.noise)

    @cached_property
    def neg_log_q(self) -> Tensor:
        """(n, *B)."""
        return self.distribution.neg_log_q(self.noise, self.values)

    @cached_property
    def log_q_of_path(self) -> Tensor:
        """Ln q (n, *B) with the parameters inside held fixed: gradients come through the samples only."""
        return self.distribution.detached().log_prob(self.values)
