"""Normal distributions with a full covariance, for vectors of a few hundred entries."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medreg.inference.variational.distribution import Distribution
from medreg.inference.variational.modes import LOG_2PI, Noise, draw_noise


@dataclass(frozen=True)
class FullNormal(Distribution):
    """N(μ, L Lᵀ), batched over any leading axes.

    Args:
        location: μ, (*B, D).
        lower: L, (*B, D, D), lower triangular with a positive diagonal.
    """

    location: Tensor
    lower: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """(*B, D)."""
        return tuple(self.location.shape)

    @property
    def rank(self) -> int:
        """0: all noise is local, and L mixes it."""
        return 0

    @property
    def mean(self) -> Tensor:
        """(*B, D)."""
        return self.location

    def variance(self) -> Tensor:
        """(*B, D)."""
        return self.lower.square().sum(-1)

    def covariance(self) -> Tensor:
        """(*B, D, D)."""
        return self.lower @ self.lower.mT

    def detached(self) -> FullNormal:
        """Without gradients."""
        return FullNormal(self.location.detach(), self.lower.detach())

    def _half_log_det(self) -> Tensor:
        return self.lower.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def entropy(self) -> Tensor:
        """(*B)."""
        return 0.5 * self.shape[-1] * (1 + LOG_2PI) + self._half_log_det()

    def values(self, noise: Noise) -> Tensor:
        """(n, *B, D)."""
        offsets = (self.lower @ noise.local.unsqueeze(-1)).squeeze(-1).unsqueeze(1)
        if noise.mirrored:
            offsets = torch.cat([offsets, -offsets], dim=1)
        return offsets.add_(self.location).flatten(0, 1)

    def weights(self, noise: Noise) -> Tensor:
        """(n, *B), all equal."""
        return self.location.new_full((), 1 / noise.count).expand(noise.count, *self.shape[:-1])

    def neg_log_q(self, noise: Noise, values: Tensor | None = None) -> Tensor:
        """From the noise, (n, *B)."""
        half = 0.5 * (noise.local.square().sum(-1) + self.shape[-1] * LOG_2PI) + self._half_log_det()
        return half.repeat_interleave(2, dim=0) if noise.mirrored else half

    def log_prob(self, values: Tensor) -> Tensor:
        """(n, *B, D) → (n, *B), or (*B, D) → (*B)."""
        residual = (values - self.location).unsqueeze(-1)
        white = torch.linalg.solve_triangular(self.lower, residual, upper=False)
        return -0.5 * (white.square().sum((-2, -1)) + self.shape[-1] * LOG_2PI) - self._half_log_det()

    def expected_normal(self, location: Tensor, scale: Tensor) -> Tensor:
        """E_q[ln N(θ; location, diag(scale²))], (*B)."""
        squares = (self.variance() + (self.location - location).square()) / scale.square()
        return -0.5 * (squares + (2 * scale.log() + LOG_2PI).expand(self.shape)).sum(-1)

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """(count, *B, D)."""
        with torch.no_grad():
            return self.values(draw_noise("single", count, self.shape, 0, self.location, generator))
