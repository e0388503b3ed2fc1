"""A mixture of Gaussians over residuals, whose widths and shares are learnt beside the field."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from medreg.errors import ConfigError
from medreg.losses.fused import fused
from medreg.losses.likelihood.base import Likelihood, samples_mask
from medreg.losses.likelihood.decimation import VirtualDecimation
from medreg.losses.likelihood.mixture_sums import MixtureLoss, Sums, scales, shares, sweep
from medreg.losses.likelihood.residual import Residual, for_samples
from medreg.losses.reduction import masked_sum, voxel_count
from medreg.losses.tuning import Rate, Tuned

# σ, of the spread of the image, below which nothing is told apart: where two images are one and the same at many
# voxels, such as those of padding, a component would fall upon them and its density would grow without end.
_FINEST = 1e-2


class GaussianMixture(Likelihood):
    """p(r) = Σ_k ρ_k N(r; 0, σ_k²) at every voxel, a sum over voxels weighted by the share α of virtual decimation.

    ρ is a softmax of K logits and σ_k = exp(ℓ_k), with the priors ℓ_k ~ N(mean, sd²) and ρ ~ Dirichlet(a), a
    density in ρ. They are fitted by Adam on the residuals as they are, a step for each sample, towards the maximum
    of α Σ ln p + ln prior: a point estimate, not sampled. At the start ℓ_k are equally spaced from ln(σ̂/100) to
    ln(5σ̂), σ̂ the standard deviation of the residuals, followed by some steps of warming up.

    Args:
        residual: of the two images.
        components: K.
        scale_prior: mean and standard deviation of ℓ_k, ln of the unit of the residual.
        dirichlet: a.
        rate: of Adam for ℓ and logits.
        warm_up: steps at the start.
        decimation: virtual decimation, or None for α = 1.

    Raises:
        ConfigError: an impossible setting.

    References:
        Le Folgoc et al., Quantifying registration uncertainty with sparse Bayesian modelling, IEEE TMI 2017 (the
        mixture); Grzech et al., MELBA 2021, and its released code (priors and schedule).
    """

    def __init__(
        self,
        *,
        residual: Residual,
        components: int,
        scale_prior: tuple[float, float],
        dirichlet: float,
        rate: Rate,
        warm_up: int,
        decimation: VirtualDecimation | None,
    ) -> None:
        super().__init__()
        if components < 1 or warm_up < 0:
            raise ConfigError(
                f"likelihood.components is {components} and warm_up {warm_up}; they are at least 1 and 0."
            )
        if len(scale_prior) != 2 or not scale_prior[1] > 0 or not 0 < dirichlet < math.inf:
            raise ConfigError(
                f"likelihood.scale_prior is {list(scale_prior)} and dirichlet {dirichlet}; give [mean, standard "
                "deviation above 0] and a finite concentration above 0."
            )
        self.residual, self.decimation = residual, decimation
        self.components, self.warm_up, self.rate = int(components), int(warm_up), rate
        self.scale_prior, self.dirichlet = (float(scale_prior[0]), float(scale_prior[1])), float(dirichlet)
        self._numbers: Tuned | None = None
        self._finest = torch.zeros(0)  # (P, 1) least ln σ of each pair
        self.share: Tensor | None = None

    @property
    def scales(self) -> Tensor:
        """σ_k, (P, K), unit of the residual."""
        return scales(self._tuned.values)

    @property
    def shares(self) -> Tensor:
        """ρ_k, (P, K)."""
        return shares(self._tuned.values)

    def state(self) -> dict[str, Any]:
        """Return the numbers of every pair and their optimiser."""
        numbers = None if self._numbers is None else self._numbers.state()
        return super().state() | {"numbers": numbers, "finest": self._finest}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        super().load_state(state)
        if state["numbers"] is not None:
            self._tuned.load_state(state["numbers"])
            self._finest = state["finest"]

    def penalty(self) -> Tensor:
        """−ln prior of the widths and shares of each pair, (P,)."""
        log_scales, _ = self._tuned.values.chunk(2, 1)
        mean, sd = self.scale_prior
        normal = 0.5 * ((log_scales - mean) / sd).square() + math.log(sd) + 0.5 * math.log(2 * math.pi)
        k, a = self.components, self.dirichlet
        constant = math.lgamma(k * a) - k * math.lgamma(a)
        return normal.sum(1) - constant - (a - 1) * self.shares.log().sum(1)

    def extra_repr(self) -> str:
        """Settings for printing."""
        return f"components={self.components}, warm_up={self.warm_up}, dirichlet={self.dirichlet}"

    @property
    def _tuned(self) -> Tuned:
        assert self._numbers is not None, "prepare() comes first"
        return self._numbers

    def _prepare(self, pairs: int, like: Tensor) -> None:
        numbers = torch.zeros(
            pairs, 2 * self.components, dtype=voxel_count(like, None).dtype, device=like.device
        )
        self._numbers = Tuned(self.rate, numbers)
        self._finest = torch.full_like(numbers[:, :1], -math.inf)

    def _start(self, warped: Tensor, fixed: Tensor, mask: Tensor | None) -> None:
        residual = self.residual(warped, fixed, mask)
        weights = samples_mask(mask, len(warped))
        seen = fixed[: self.pairs]
        if mask is not None:
            seen = seen.masked_fill(mask[: self.pairs] == 0, 0.0)
        floor = _FINEST * self.residual.transformed(seen, None).flatten(1).std(1)
        number = voxel_count(residual, weights).expand(len(residual))
        # Chains of a pair have their second moments in common.
        moments = torch.stack([number, masked_sum(residual, weights), masked_sum(residual.square(), weights)])
        count, first, second = moments.view(3, -1, self.pairs).sum(1)
        spread = (second / count - (first / count).square()).clamp_min(0.0).sqrt()
        spread = torch.maximum(spread, floor.to(spread))
        self._finest = floor.to(spread).log()[:, None]
        steps = torch.linspace(math.log(1 / 100), math.log(5), self.components).to(spread)
        steps = steps if self.components > 1 else torch.zeros_like(steps)
        log_scales = torch.maximum(spread.log()[:, None] + steps, self._finest)
        self._numbers = Tuned(self.rate, torch.cat([log_scales, torch.zeros_like(log_scales)], 1))
        chains = self.chains_of(len(warped))
        for step in range(self.warm_up):
            chosen = chains[step % len(chains)]
            self._fit(residual[chosen], None if weights is None else weights[chosen])

    def _evaluate(self, warped: Tensor, fixed: Tensor, mask: Tensor | None, adapt: bool) -> Tensor:
        residual = self.residual(warped, fixed, mask)
        weights = samples_mask(mask, len(warped))
        seen = residual.detach()
        found: Sums | None = None
        if adapt:
            numbers, share = self._adapted(seen, weights)
        else:
            numbers = for_samples(self._tuned.values, len(seen))
            found = sweep(seen.flatten(1), _flat(weights, seen), numbers, moments=False)
            share = self._share(seen, found, weights)
        self.share = share
        return share * fused(MixtureLoss(numbers, _flat(weights, seen), found), residual)

    def _adapted(self, residual: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
        """The numbers (S, 2K) that each chain has after its step, and the shares α (S,) before it."""
        numbers, shares = [], []
        for chain in self.chains_of(len(residual)):
            shares.append(self._fit(residual[chain], None if weights is None else weights[chain]))
            numbers.append(self._tuned.values)
        return torch.cat(numbers), torch.cat(shares)

    def _share(self, residual: Tensor, found: Sums, weights: Tensor | None) -> Tensor:
        if self.decimation is None:
            return torch.ones_like(found.value)
        normalised = residual.flatten(1) * found.precision.sqrt()
        share: Tensor = self.decimation(normalised.view_as(residual), weights)
        return share

    @torch.no_grad()
    def _fit(self, residual: Tensor, weights: Tensor | None) -> Tensor:
        """One step towards the residuals (P, C, *grid) of a chain; the share α (P,) before it."""
        numbers = self._tuned.values
        found = sweep(residual.flatten(1), _flat(weights, residual), numbers)
        share = self._share(residual, found, weights)
        count = voxel_count(residual, weights)[:, None]
        log_scales, logits = numbers.chunk(2, 1)
        rho, factor = logits.softmax(1), share[:, None]
        mean, sd = self.scale_prior
        widths = found.counts - found.squares * (-2 * log_scales).exp()
        of_scales = factor * widths + (log_scales - mean) / sd**2
        of_logits = -factor * (found.counts - count * rho) - (self.dirichlet - 1) * (
            1 - self.components * rho
        )
        self._tuned.step(torch.cat([of_scales, of_logits], 1))
        log_scales, logits = self._tuned.values.chunk(2, 1)
        self._tuned.values = torch.cat([torch.maximum(log_scales, self._finest), logits], 1)
        return share


def _flat(weights: Tensor | None, residual: Tensor) -> Tensor | None:
    """Weights (S, 1, *grid) as those of (S, C·voxels)."""
    return None if weights is None else weights.to(residual).expand_as(residual).flatten(1)
