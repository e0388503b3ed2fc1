"""A rank-one normal fitted to the posterior of every pair of a batch, perhaps from where an earlier fit ended."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medreg.errors import ConfigError
from medreg.inference.posterior import PosteriorEnergy
from medreg.inference.variational.families import Structured
from medreg.inference.variational.fitting import Fitting
from medreg.inference.variational.normal import LowRankNormal

Kept = dict[str, Tensor]  # of one pair: mean (D,), log_std (D,) and factor (r, D)


@dataclass(frozen=True)
class PairFit:
    """How q(z) = N(μ, diag σ² + V Vᵀ) is fitted: Adam on the bound of a mirrored pair of samples.

    Source: Grzech et al., CVPR 2022 (1024 or 1344 steps at 0.01 or 0.02, σ = 0.5, V = 0.1, rank 1).

    Attributes:
        steps: of Adam, at a constant rate.
        learning_rate: of all parameters.
        std: first σ of every entry.
        factor: first entries of V.
        rank: r of V; 0 is the mean-field family.
    """

    steps: int
    learning_rate: float
    std: float
    factor: float
    rank: int = 1

    def __post_init__(self) -> None:
        for name in ("learning_rate", "std"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"model.fit.{name} is {getattr(self, name)}; it must be above 0.")
        if self.steps < 1 or self.rank < 0:
            raise ConfigError(
                f"model.fit has {self.steps} steps and rank {self.rank}; give 1 step at least, and rank 0 or more."
            )

    def __call__(
        self, energy: PosteriorEnergy, *, seed: int, kept: Sequence[Kept | None] = ()
    ) -> tuple[LowRankNormal, Tensor]:
        """Fit the pairs of an energy side by side.

        Args:
            energy: of P pairs.
            seed: of the samples.
            kept: where earlier fits of the pairs ended, None for a pair without one; empty for none at all.

        Returns:
            The normal of P latent vectors (P, D), without gradients, and the bound of every step, (steps, P).

        Raises:
            NumericalError: the energy is not finite.
        """
        with torch.enable_grad():
            return self._run(energy, seed, kept)

    def _run(
        self, energy: PosteriorEnergy, seed: int, kept: Sequence[Kept | None]
    ) -> tuple[LowRankNormal, Tensor]:
        like, shape = energy.images.fixed, energy.shape
        pairs, dim = shape[0], math.prod(shape[1:])
        family = Structured(
            dim, self.rank, batch=(pairs,), parametrisation="direct", dtype=like.dtype, device=like.device
        )
        family.start(0.0, self.std, self.factor)
        _warm(family, kept)
        fitting = Fitting(
            family,
            steps=self.steps,
            lr=self.learning_rate,
            schedule="constant",
            estimator="closed",
            seed=seed,
        )
        both = energy.chains(2)

        def log_density(values: Tensor) -> Tensor:
            return -both(values.reshape(-1, *shape[1:])).reshape(values.shape[:-1])

        while not fitting.finished:
            fitting.step(log_density)
        return family.distribution().detached(), torch.stack(fitting.history)


def parts_of(normal: LowRankNormal) -> list[Kept]:
    """What is kept of every pair, on the CPU."""
    return [
        {"mean": mean.cpu().clone(), "log_std": log_std.cpu().clone(), "factor": factor.cpu().clone()}
        for mean, log_std, factor in zip(normal.location, normal.log_std, normal.factor, strict=True)
    ]


@torch.no_grad()
def _warm(family: Structured, kept: Sequence[Kept | None]) -> None:
    """Put earlier fits in place of the usual start; of another size they are left aside."""
    for number, each in enumerate(kept):
        if each is None or each["mean"].shape != family.location.shape[1:]:
            continue
        family.location[number] = each["mean"].to(family.location)
        family.log_std[number] = each["log_std"].to(family.location)
        if family.directions is not None and each["factor"].shape == family.directions.shape[1:]:
            family.directions[number] = each["factor"].to(family.location)
