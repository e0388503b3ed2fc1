"""Gaussian noise of one standard deviation: the sum of squared residuals."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from medreg.errors import ConfigError
from medreg.losses.likelihood.base import Likelihood, samples_mask
from medreg.losses.likelihood.decimation import VirtualDecimation
from medreg.losses.likelihood.residual import Residual, for_samples
from medreg.losses.reduction import masked_sum, voxel_count
from medreg.losses.tuning import Rate, Tuned

_FINEST = 1e-12  # variance to start with where two images are one and the same, in squared residuals


class Gaussian(Likelihood):
    """p(r) = N(r; 0, σ²) at every voxel, weighted by the share α of virtual decimation.

    Args:
        residual: of the two images.
        sigma: σ in the unit of the residual, or None: learnt for each pair, by Adam towards the maximum of the
            likelihood, from the root mean square of the first residuals.
        rate: of Adam for ln σ, where it is learnt.
        decimation: virtual decimation, or None for α = 1.

    Raises:
        ConfigError: σ is not above 0.
    """

    def __init__(
        self, *, residual: Residual, sigma: float | None, rate: Rate, decimation: VirtualDecimation | None
    ) -> None:
        super().__init__()
        if sigma is not None and not 0 < sigma < float("inf"):
            raise ConfigError(
                f"likelihood.sigma is {sigma}; it is a standard deviation above 0, or null to learn it."
            )
        self.residual, self.decimation, self.rate = residual, decimation, rate
        self._sigma = None if sigma is None else float(sigma)
        self._numbers: Tuned | None = None
        self.share: Tensor | None = None

    @property
    def sigma(self) -> Tensor:
        """Standard deviation of every pair, (P,), unit of the residual."""
        return self._tuned.values[:, 0].exp()

    def state(self) -> dict[str, Any]:
        """Return σ of every pair and its optimiser."""
        return super().state() | {"numbers": None if self._numbers is None else self._numbers.state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        super().load_state(state)
        if state["numbers"] is not None:
            self._tuned.load_state(state["numbers"])

    def extra_repr(self) -> str:
        """Settings for printing."""
        return f"sigma={'learnt' if self._sigma is None else self._sigma}"

    @property
    def _tuned(self) -> Tuned:
        assert self._numbers is not None, "prepare() comes first"
        return self._numbers

    def _prepare(self, pairs: int, like: Tensor) -> None:
        kind = voxel_count(like, None).dtype
        value = 0.0 if self._sigma is None else math.log(self._sigma)
        self._numbers = Tuned(self.rate, torch.full((pairs, 1), value, dtype=kind, device=like.device))

    def _start(self, warped: Tensor, fixed: Tensor, mask: Tensor | None) -> None:
        if self._sigma is not None:
            return
        weights = samples_mask(mask, len(warped))
        residual = self.residual(warped, fixed, mask)
        number = voxel_count(residual, weights).expand(len(residual))
        sums = torch.stack([masked_sum(residual.square(), weights), number]).view(2, -1, self.pairs).sum(1)
        variance = (sums[0] / sums[1]).clamp_min(_FINEST)
        self._numbers = Tuned(self.rate, 0.5 * variance.log()[:, None])

    def _evaluate(self, warped: Tensor, fixed: Tensor, mask: Tensor | None, adapt: bool) -> Tensor:
        residual = self.residual(warped, fixed, mask)
        weights = samples_mask(mask, len(warped))
        squares = masked_sum(residual.square(), weights)
        count = voxel_count(residual, weights).expand(len(residual))
        share = torch.ones_like(count)
        if self.decimation is not None:  # a correlation: no need to divide by σ first
            share = self.decimation(residual.detach(), weights)
        self.share = share
        logs = for_samples(self._tuned.values, len(warped))[:, 0]
        if adapt and self._sigma is None:
            logs = self._adapted(squares.detach(), count, share)
        return share * (0.5 * squares * (-2 * logs).exp() + count * (logs + 0.5 * math.log(2 * math.pi)))

    def _adapted(self, squares: Tensor, count: Tensor, share: Tensor) -> Tensor:
        """The ln σ of every sample, after the step that its chain made."""
        logs = []
        for chain in self.chains_of(len(squares)):
            variance = (2 * self._tuned.values[:, 0]).exp()
            self._tuned.step((share[chain] * (count[chain] - squares[chain] / variance))[:, None])
            logs.append(self._tuned.values[:, 0])
        return torch.cat(logs)
