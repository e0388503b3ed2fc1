"""Normal distributions with covariance diag(σ²) + Σ_j v_j v_jᵀ, through r × r matrices only."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medreg.errors import ConfigError
from medreg.inference.variational.distribution import Distribution
from medreg.inference.variational.modes import LOG_2PI, Noise, draw_noise


@dataclass(frozen=True)
class LowRankNormal(Distribution):
    """N(μ, diag(e^{2ℓ}) + VᵀV), batched over any leading axes; work D r² + r³, memory D (r + 2).

    With the rows b_j = v_j/σ of B, C = I + B Bᵀ = L Lᵀ is at least the identity, so its Cholesky factor always exists
    and has gradients everywhere, which the singular vectors of B Bᵀ have not when singular values coincide.

    Args:
        location: μ, (*B, D).
        log_std: ℓ, (*B, D).
        factor: V, (*B, r, D): one direction a row; r = 0 is the diagonal (mean-field) family.

    Source: Le Folgoc et al. 2021, arXiv 2110.04286; Woodbury identity.
    """

    location: Tensor
    log_std: Tensor
    factor: Tensor

    def __post_init__(self) -> None:
        rank, dim = self.factor.shape[-2:]
        if self.location.shape != self.log_std.shape or dim != self.location.shape[-1]:
            raise ConfigError(
                f"mean {tuple(self.location.shape)}, log_std {tuple(self.log_std.shape)} and factor "
                f"{tuple(self.factor.shape)} do not fit; expected (…, D), (…, D) and (…, r, D)."
            )
        if rank > dim:
            raise ConfigError(f"rank is {rank}, larger than the {dim} parameters; take at most {dim}.")

    @property
    def shape(self) -> tuple[int, ...]:
        """(*B, D)."""
        return tuple(self.location.shape)

    @property
    def rank(self) -> int:
        """Number of rows of the factor."""
        return self.factor.shape[-2]

    @property
    def mean(self) -> Tensor:
        """(*B, D)."""
        return self.location

    def variance(self) -> Tensor:
        """(*B, D)."""
        return (2 * self.log_std).exp() + self.factor.square().sum(-2)

    def covariance(self) -> Tensor:
        """(*B, D, D)."""
        return torch.diag_embed((2 * self.log_std).exp()) + self.factor.mT @ self.factor

    def detached(self) -> LowRankNormal:
        """Without gradients."""
        return LowRankNormal(self.location.detach(), self.log_std.detach(), self.factor.detach())

    def _scaled(self) -> Tensor:
        """B, (*B, r, D)."""
        return self.factor * torch.exp(-self.log_std).unsqueeze(-2)

    def _cholesky(self, scaled: Tensor) -> Tensor:
        """L, (*B, r, r)."""
        identity = torch.eye(self.rank, dtype=scaled.dtype, device=scaled.device)
        return torch.linalg.cholesky(identity + scaled @ scaled.mT)

    def log_det(self, lower: Tensor | None = None) -> Tensor:
        """Ln det Σ, (*B)."""
        diagonal = 2 * self.log_std.sum(-1)
        if self.rank == 0:
            return diagonal
        lower = self._cholesky(self._scaled()) if lower is None else lower
        return diagonal + 2 * lower.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def entropy(self) -> Tensor:
        """D/2 (1 + ln 2π) + ½ ln det Σ, (*B)."""
        return 0.5 * (self.shape[-1] * (1 + LOG_2PI) + self.log_det())

    def log_prob(self, values: Tensor) -> Tensor:
        """(n, *B, D) → (n, *B), or (*B, D) → (*B)."""
        residual = (values - self.location) * torch.exp(-self.log_std)
        constant = self.shape[-1] * LOG_2PI
        if self.rank == 0:
            return -0.5 * (residual.square().sum(-1) + self.log_det() + constant)
        scaled = self._scaled()
        lower = self._cholesky(scaled)
        inner = _solve(lower, _rows(residual, scaled.mT, len(self.shape)))
        mahalanobis = residual.square().sum(-1) - inner.square().sum(-1)
        return -0.5 * (mahalanobis + self.log_det(lower) + constant)

    def offsets(self, noise: Noise) -> Tensor:
        """θ − μ of the first half of every draw, (pairs, half, *B, D)."""
        local = (noise.local * torch.exp(self.log_std)).unsqueeze(1)
        if self.rank == 0:
            return local
        shared = _rows(noise.shared.flatten(0, 1), self.factor, len(self.shape))
        return local + shared.unflatten(0, noise.shared.shape[:2])

    def values(self, noise: Noise) -> Tensor:
        """(n, *B, D), n = pairs × samples of a draw."""
        offsets = self.offsets(noise)
        if noise.mirrored:
            offsets = torch.cat([offsets, -offsets], dim=1)
        return offsets.add_(self.location).flatten(0, 1)

    def weights(self, noise: Noise) -> Tensor:
        """All equal, (n, *B)."""
        count = noise.count
        return self.location.new_full((), 1 / count).expand(count, *self.shape[:-1])

    def neg_log_q(self, noise: Noise, values: Tensor | None = None) -> Tensor:
        """From the noise: ½[ε·ε + x·x − |L⁻¹(Bε − x)|² + ln det Σ + D ln 2π], (n, *B).

        Bε is worked out once for all samples of a draw, and mirrored samples have the same density.
        """
        total = noise.local.square().sum(-1).unsqueeze(1) + self.shape[-1] * LOG_2PI
        if self.rank == 0:
            total = total + self.log_det()
        else:
            scaled = self._scaled()
            lower = self._cholesky(scaled)
            projected = _rows(noise.local, scaled.mT, len(self.shape)).unsqueeze(1)
            inner = _solve(lower, projected - noise.shared)
            total = total + noise.shared.square().sum(-1) - inner.square().sum(-1) + self.log_det(lower)
        if noise.mirrored:
            total = torch.cat([total, total], dim=1)
        return 0.5 * total.flatten(0, 1)

    def expected_normal(self, location: Tensor, scale: Tensor) -> Tensor:
        """E_q[ln N(θ; location, diag(scale²))], (*B)."""
        squares = (self.variance() + (self.location - location).square()) / scale.square()
        logs = (2 * scale.log() + LOG_2PI).expand(self.shape)
        return -0.5 * (squares + logs).sum(-1)

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """(count, *B, D)."""
        with torch.no_grad():
            return self.values(draw_noise("single", count, self.shape, self.rank, self.location, generator))


def diagonal(location: Tensor, log_std: Tensor) -> LowRankNormal:
    """The mean-field normal, rank 0; arguments (*B, D)."""
    return LowRankNormal(location, log_std, location.new_zeros(*location.shape[:-1], 0, location.shape[-1]))


def kl_diagonal(q: LowRankNormal, location: Tensor, scale: Tensor) -> Tensor:
    """KL(q ‖ N(location, diag(scale²))) in nats, (*B)."""
    return -q.expected_normal(location, scale) - q.entropy()


def kl(q: LowRankNormal, p: LowRankNormal) -> Tensor:
    """KL(q ‖ p) of two structured normals in nats, (*B); the trace by Woodbury, work D r²."""
    inverse = torch.exp(-p.log_std)
    trace = (q.variance() * inverse.square()).sum(-1)
    if p.rank:
        scaled = p._scaled()
        lower = p._cholesky(scaled)
        weighted = scaled * inverse.unsqueeze(-2)
        spread = torch.cat([weighted * torch.exp(q.log_std).unsqueeze(-2), weighted @ q.factor.mT], dim=-1)
        trace = trace - torch.linalg.solve_triangular(lower, spread, upper=False).square().sum((-2, -1))
    gap = -2 * p.log_prob(q.location) - p.log_det() - p.shape[-1] * LOG_2PI
    return 0.5 * (trace + gap - p.shape[-1] + p.log_det() - q.log_det())


def _rows(left: Tensor, right: Tensor, ndim: int) -> Tensor:
    """Row vectors (n, *B, k), or (*B, k) where `left` has `ndim` axes, times matrices (*B, k, m)."""
    if left.ndim == ndim:
        return (left.unsqueeze(-2) @ right).squeeze(-2)
    return (left.movedim(0, -2) @ right).movedim(-2, 0)


def _solve(lower: Tensor, rows: Tensor) -> Tensor:
    """L⁻¹ of each vector: (*B, r, r) and (…, *B, r) → (…, *B, r)."""
    return torch.linalg.solve_triangular(lower, rows.unsqueeze(-1), upper=False).squeeze(-1)
