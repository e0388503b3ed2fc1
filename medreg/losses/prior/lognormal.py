"""A log-normal density of the energy itself, turned into one of the field."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from medreg.errors import ConfigError, require_choice
from medreg.losses.prior.base import Prior, log_energy, require_positive
from medreg.losses.regularisation.base import Regulariser
from medreg.losses.tuning import Rate

LocPriorOn = Literal["loc", "energy_released"]


class LogNormal(Prior):
    """−ln p = ln y + ln s + ½((ln y − m)/s)² + (ν/2 − 1) ln y − ln p(m) − ln p(ln s), with m and ln s learnt.

    p(m): e^m ~ Gamma(ν/2, w/2), which is the law of the energy under `Fixed` with the weight w; ln s ~ N. At the
    start m is the mean of ln y under that law, ψ(ν/2) − ln(w/2), and s = 4m. The effective weight of the field is
    [ν + 2(ln y − m)/s²]/y; it grows without bound as y falls, so watch ln y where the posterior of the field is
    narrow.

    Args:
        regulariser: whose energy is y.
        weight: w.
        log_scale_prior: mean and standard deviation of ln s.
        rate: of Adam for m and ln s.
        loc_prior_on: where the density p(m) is evaluated: at "loc", m, or at ln y, "energy_released", as the
            released code does. Everything in ln y but the square then cancels and up to a constant the whole is
            ½ w y + ½((ln y − m)/s)² + ln s: with s about 60 the fixed weight w.

    References:
        Grzech et al., Uncertainty quantification in non-rigid image registration via stochastic gradient
        Markov chain Monte Carlo, MELBA 2021, and its released code.
    """

    def __init__(
        self,
        *,
        regulariser: Regulariser,
        weight: float,
        log_scale_prior: tuple[float, float],
        rate: Rate,
        loc_prior_on: LocPriorOn = "loc",
    ) -> None:
        super().__init__(regulariser=regulariser, rate=rate)
        require_choice("prior.loc_prior_on", loc_prior_on, get_args(LocPriorOn))
        self.weight = require_positive("prior.weight", weight)
        if len(log_scale_prior) != 2:
            raise ConfigError(
                f"prior.log_scale_prior is {list(log_scale_prior)}; give [mean, standard deviation]."
            )
        self.log_scale_prior = (
            float(log_scale_prior[0]),
            require_positive("prior.log_scale_prior[1]", log_scale_prior[1]),
        )
        self.loc_prior_on: LocPriorOn = loc_prior_on

    def initial(self) -> list[float]:
        """Return m and ln s; s = 4 |m|, or 4 where m is below 1, which happens on grids of a few points alone."""
        half = torch.tensor(0.5 * self.unknowns, dtype=torch.float64)
        loc = float(torch.special.digamma(half)) - math.log(0.5 * self.weight)
        return [loc, math.log(4) + math.log(max(abs(loc), 1.0))]

    def negative_log(self, energy: Tensor, numbers: Tensor) -> Tensor:
        """Return the value from y (S,), m and ln s (S, 2)."""
        loc, log_scale = numbers.unbind(1)
        logs = log_energy(energy)
        density = logs + log_scale + 0.5 * ((logs - loc) / log_scale.exp()).square()
        # e^{ln y} = y, but where y is below the floor of its logarithm
        of_loc = self._log_gamma(loc) if self.loc_prior_on == "loc" else self._log_gamma(logs)
        mean, sd = self.log_scale_prior
        of_scale = -0.5 * ((log_scale - mean) / sd).square() - math.log(sd)
        return density + (0.5 * self.unknowns - 1) * logs - of_loc - of_scale

    def effective_weight(self, energy: Tensor) -> Tensor:
        """Return the weight of the quadratic prior with the same gradient, 2 ∂(−ln p)/∂y, (S,)."""
        with torch.enable_grad():
            point = energy.detach().requires_grad_(True)
            values = self.negative_log(point, self._of_samples(len(point)))
            (slope,) = torch.autograd.grad(values.sum(), point)
        return 2 * slope

    def _log_gamma(self, log_value: Tensor) -> Tensor:
        """Log density of x = ln X with X ~ Gamma(ν/2, w/2)."""
        a, b = 0.5 * self.unknowns, 0.5 * self.weight
        return a * math.log(b) + a * log_value - b * log_value.exp() - math.lgamma(a)
