"""Mixtures of structured normals, sampled in equal numbers from every component."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medreg.errors import ConfigError
from medreg.inference.variational.distribution import Distribution
from medreg.inference.variational.modes import Noise
from medreg.inference.variational.normal import LowRankNormal


@dataclass(frozen=True)
class NormalMixture(Distribution):
    """Σ_k π_k N(μ_k, Σ_k), batched over any leading axes.

    Every draw takes the same samples of every component with the same noise, weighted by π_k: nothing discrete is
    drawn, and gradients reach π through the weights and through ln q. Work O(K² n D r).

    Args:
        normals: batched (*B, K).
        logits: α, (*B, K); π = softmax(α).

    Source: Le Folgoc et al. 2021, arXiv 2110.04286.
    """

    normals: LowRankNormal
    logits: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """(*B, D)."""
        return (*self.normals.shape[:-2], self.normals.shape[-1])

    @property
    def rank(self) -> int:
        """Of every component."""
        return self.normals.rank

    @property
    def log_pi(self) -> Tensor:
        """(*B, K)."""
        return torch.log_softmax(self.logits, -1)

    @property
    def pi(self) -> Tensor:
        """(*B, K)."""
        return torch.softmax(self.logits, -1)

    @property
    def mean(self) -> Tensor:
        """(*B, D)."""
        return (self.pi.unsqueeze(-1) * self.normals.location).sum(-2)

    def variance(self) -> Tensor:
        """(*B, D)."""
        squares = self.normals.variance() + (self.normals.location - self.mean.unsqueeze(-2)).square()
        return (self.pi.unsqueeze(-1) * squares).sum(-2)

    def covariance(self) -> Tensor:
        """(*B, D, D)."""
        away = self.normals.location - self.mean.unsqueeze(-2)
        between = away.unsqueeze(-1) * away.unsqueeze(-2)
        return (self.pi[..., None, None] * (self.normals.covariance() + between)).sum(-3)

    def detached(self) -> NormalMixture:
        """Without gradients."""
        return NormalMixture(self.normals.detached(), self.logits.detach())

    def values(self, noise: Noise) -> Tensor:
        """(n K, *B, D): the sample index outermost, the component inside."""
        values = self.normals.values(noise.for_components())
        return values.movedim(-2, 1).flatten(0, 1)

    def weights(self, noise: Noise) -> Tensor:
        """π_k/n, (n K, *B)."""
        pi = self.pi.movedim(-1, 0) / noise.count
        return pi.expand(noise.count, *pi.shape).flatten(0, 1)

    def neg_log_q(self, noise: Noise, values: Tensor) -> Tensor:
        """Against all components, (n K, *B)."""
        return -self.log_prob(values)

    def component_log_prob(self, values: Tensor) -> Tensor:
        """Ln π_k + ln N_k, (n, *B, K) or (*B, K)."""
        return self.log_pi + self.normals.log_prob(
            values.unsqueeze(-2).expand(*values.shape[:-1], *self.normals.shape[-2:])
        )

    def log_prob(self, values: Tensor) -> Tensor:
        """(n, *B, D) → (n, *B), or (*B, D) → (*B)."""
        return torch.logsumexp(self.component_log_prob(values), -1)

    def responsibilities(self, values: Tensor) -> Tensor:
        """The probability that each component made a sample, (n, *B, K) or (*B, K)."""
        return torch.softmax(self.component_log_prob(values), -1)

    def effective_number(self) -> Tensor:
        """Exp of the entropy of π, (*B): how many components are alive."""
        return torch.exp(-(self.pi * self.log_pi).sum(-1))

    def entropy(self) -> Tensor:
        """Refused: there is no closed form."""
        raise ConfigError(
            "The entropy of a mixture has no closed form; take estimator=sampled or estimator=stl."
        )

    def entropy_bounds(self) -> tuple[Tensor, Tensor]:
        """Lower and upper bound of the entropy in nats, each (*B).

        Lower: the larger of −Σ_k π_k ln Σ_j π_j N(μ_k; μ_j, Σ_k + Σ_j) and Σ_k π_k H_k. Upper: Σ_k π_k H_k + H(π).
        Source: Huber et al. 2008; Gershman et al. 2012.
        """
        inside = (self.pi * self.normals.entropy()).sum(-1)
        upper = inside - (self.pi * self.log_pi).sum(-1)
        one, two = _pair(self.normals, -2), _pair(self.normals, -3)
        log_std = 0.5 * torch.logaddexp(2 * one.log_std, 2 * two.log_std)
        factor = torch.cat([one.factor, two.factor], dim=-2)
        overlaps = _log_density(two.location - one.location, log_std, factor)
        lower = -(self.pi * torch.logsumexp(self.log_pi.unsqueeze(-2) + overlaps, -1)).sum(-1)
        return torch.maximum(lower, inside), upper

    def expected_normal(self, location: Tensor, scale: Tensor) -> Tensor:
        """E_q[ln N(θ; location, diag(scale²))], (*B)."""
        each = self.normals.expected_normal(_inside(location), _inside(scale))
        return (self.pi * each).sum(-1)

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """(count, *B, D)."""
        with torch.no_grad():
            pi = self.pi
            chosen = torch.multinomial(pi.reshape(-1, pi.shape[-1]), count, True, generator=generator)
            chosen = chosen.T.reshape(count, *pi.shape[:-1])
            out = torch.empty(count, *self.shape, dtype=pi.dtype, device=pi.device)
            for k in range(pi.shape[-1]):  # one after another: all at once would hold K times the samples
                here = chosen == k
                out[here] = self.component(k).sample(count, generator)[here]
            return out

    def component(self, index: int) -> LowRankNormal:
        """One of the normals, batched (*B)."""
        normals = self.normals
        return LowRankNormal(
            normals.location[..., index, :], normals.log_std[..., index, :], normals.factor[..., index, :, :]
        )


def _inside(tensor: Tensor) -> Tensor:
    return tensor.unsqueeze(-2) if tensor.ndim else tensor


@dataclass(frozen=True)
class _Pair:
    location: Tensor
    log_std: Tensor
    factor: Tensor


def _pair(normals: LowRankNormal, axis: int) -> _Pair:
    """The components repeated along a new axis, so that two of them make all pairs (*B, K, K)."""
    count, dim = normals.shape[-2:]
    location, log_std = normals.location.unsqueeze(axis), normals.log_std.unsqueeze(axis)
    factor = normals.factor.unsqueeze(axis - 1)
    batch = normals.shape[:-2]
    return _Pair(
        location.expand(*batch, count, count, dim),
        log_std.expand(*batch, count, count, dim),
        factor.expand(*batch, count, count, normals.rank, dim),
    )


def _log_density(residual: Tensor, log_std: Tensor, factor: Tensor) -> Tensor:
    """Ln N(residual; 0, …); the sum of two covariances may have more directions than entries, which is fine here."""
    spare = factor.shape[-2] - factor.shape[-1]
    if spare > 0:  # the same VᵀV with as many rows as entries
        factor = torch.linalg.qr(factor, mode="r").R
    return LowRankNormal(torch.zeros_like(residual), log_std, factor).log_prob(residual)
