"""Where chains begin: drawn from a variational fit, at the identity, or at noise."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medreg.inference.sampling.noise import Noise


@dataclass(frozen=True)
class Start:
    """States and preconditioner for `sample`.

    Attributes:
        z: (C·P, ...), chain c of P pairs at c·P to (c + 1)·P.
        variance: preconditioner σ² (P, ...); None is 1.
    """

    z: Tensor
    variance: Tensor | None = None


def from_identity(identity: Tensor, *, chains: int) -> Start:
    """Every chain at the identity (P, ...), without a preconditioner."""
    return Start(identity.detach().repeat(chains, *[1] * (identity.ndim - 1)))


def from_noise(identity: Tensor, *, chains: int, generator: torch.Generator) -> Start:
    """Every chain at white noise of unit variance around the identity (P, ...), without a preconditioner.

    Args:
        identity: (P, ...), the centre.
        chains: number C per pair.
        generator: source of the noise.
    """
    z = from_identity(identity, chains=chains).z
    return Start(z + _noise(z, generator))


def from_variational(
    mean: Tensor,
    log_std: Tensor,
    factor: Tensor | None = None,
    *,
    chains: int,
    generator: torch.Generator,
) -> Start:
    """Every chain at a draw of its own from q = N(μ, diag(σ²) + Σ_r u_r u_rᵀ), preconditioned by σ².

    The factor spreads the starts but is no part of the preconditioner (Grzech et al., MELBA 2021:016).

    Args:
        mean: μ (P, ...).
        log_std: ln σ (P, ...).
        factor: u (P, r, ...), or None.
        chains: number C per pair.
        generator: source of the draws.
    """
    mean, std = mean.detach(), log_std.detach().exp()
    z = from_identity(mean, chains=chains).z
    pairs = len(mean)
    z.unflatten(0, (chains, pairs)).addcmul_(_noise(z, generator).unflatten(0, (chains, pairs)), std)
    if factor is not None and factor.shape[1]:
        rank = factor.shape[1]
        x = _noise(z.new_empty(chains * pairs, rank), generator).reshape(chains, pairs, rank)
        z += torch.einsum("cpr,pr...->cp...", x, factor.detach()).flatten(0, 1)
    return Start(z, std.square())


def _noise(like: Tensor, generator: torch.Generator) -> Tensor:
    return Noise.spawn(generator, len(like), device=like.device).fill(torch.empty_like(like))
