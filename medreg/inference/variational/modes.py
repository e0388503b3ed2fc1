"""Joint sampling schemes ("modes"): how the samples of one draw share their noise.

A normal of rank r is sampled as θ = μ + σ⊙ε + V x with ε ~ N(0, I_D) and x ~ N(0, I_r). The samples of one draw share
ε and the lengths of x; signs and rotations are combined so that odd parts of the noise cancel, while every sample by
itself still has the law of the family (Le Folgoc et al. 2021, arXiv 2110.04286, and their released engine).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from medreg.errors import ConfigError, require_choice

Mode = Literal["single", "paired", "unscented", "exhaustive"]
MODES: tuple[str, ...] = get_args(Mode)
# Samples of one exhaustive draw that are still affordable: each costs an evaluation of the density.
EXHAUSTIVE_LIMIT = 4096
LOG_2PI = math.log(2 * math.pi)


@dataclass(frozen=True)
class Noise:
    """Standard normal numbers of several draws.

    Attributes:
        local: ε, (pairs, *B, D); shared by the samples of a draw.
        shared: x, (pairs, half, *B, r).
        mirrored: whether every sample has a twin with both signs turned, listed after the first half of its draw.
    """

    local: Tensor
    shared: Tensor
    mirrored: bool

    @property
    def count(self) -> int:
        """Samples of all draws together."""
        return self.shared.shape[0] * self.shared.shape[1] * (2 if self.mirrored else 1)

    def for_components(self) -> Noise:
        """The same numbers for every component of a mixture: an axis of size one before the last."""
        return Noise(self.local.unsqueeze(-2), self.shared.unsqueeze(-2), self.mirrored)


def samples_per_draw(mode: str, rank: int) -> int:
    """Evaluations of the density that one draw costs: 1, 2, 4r, 2^(r+1); rank 0 leaves the sign alone to vary.

    Raises:
        ConfigError: an unknown mode, or an exhaustive draw that nobody can pay.
    """
    require_choice("mode", mode, MODES)
    if mode == "single":
        return 1
    if mode == "paired" or rank == 0:
        return 2
    if mode == "unscented":
        return 4 * rank
    if 2 ** (rank + 1) > EXHAUSTIVE_LIMIT:
        raise ConfigError(
            f"mode=exhaustive at rank {rank} takes 2^{rank + 1} samples a draw; at most {EXHAUSTIVE_LIMIT} are "
            "allowed. Lower the rank, or take mode=unscented (4 × rank samples)."
        )
    return 2 ** (rank + 1)


def draw_noise(
    mode: str, pairs: int, shape: tuple[int, ...], rank: int, like: Tensor, generator: torch.Generator
) -> Noise:
    """Draw the noise of `pairs` independent draws.

    Args:
        mode: one of `MODES`.
        pairs: number of draws.
        shape: (*B, D), of the vectors.
        rank: number of shared directions.
        like: gives device and type.
        generator: on the device of `like`.

    Raises:
        ConfigError: see `samples_per_draw`; or no draw at all.
    """
    samples_per_draw(mode, rank)
    if pairs < 1:
        raise ConfigError(f"pairs is {pairs}; a draw needs at least one.")
    batch = shape[:-1]

    def normal(*size: int) -> Tensor:
        return torch.randn(size, generator=generator, dtype=like.dtype, device=like.device)

    local = normal(pairs, *shape)
    if rank == 0:
        return Noise(local, local.new_zeros(pairs, 1, *batch, 0), mode != "single")
    if mode == "unscented":
        rows = _orthogonal_rows(normal(pairs, *batch, rank, rank), normal(pairs, *batch, rank))
        return Noise(local, torch.cat([rows, -rows], dim=1), mirrored=True)
    shared = normal(pairs, 1, *batch, rank)
    if mode == "exhaustive":
        shared = shared * _sign_table(rank, like).reshape(1, -1, *([1] * len(batch)), rank)
    return Noise(local, shared, mode != "single")


def _orthogonal_rows(square: Tensor, lengths: Tensor) -> Tensor:
    """Rows of a uniformly random orthogonal matrix times one χ_r length: (pairs, r, *B, r), each row N(0, I_r)."""
    basis, upper = torch.linalg.qr(square)
    basis = basis * upper.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)  # else QR is not uniform
    return (basis * lengths.norm(dim=-1)[..., None, None]).movedim(-2, 1)


def _sign_table(rank: int, like: Tensor) -> Tensor:
    """All combinations of signs, (2^r, r)."""
    numbers = torch.arange(2**rank, device=like.device).unsqueeze(1)
    bits = (numbers >> torch.arange(rank, device=like.device)) & 1
    return (1 - 2 * bits).to(like.dtype)
