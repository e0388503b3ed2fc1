"""The Gaussian prior of a field whose weight is learnt, under a Gamma density of the weight."""

from __future__ import annotations

import math

from torch import Tensor

from medreg.losses.prior.base import Prior, require_positive
from medreg.losses.regularisation.base import Regulariser
from medreg.losses.tuning import Rate


class Gamma(Prior):
    """−ln p = ½ w y − ½ ν ln w − ln Gamma(w; a, b), the density of w counted in ln w.

    With the released a = ν/2 and b = 1/a the stationary weight is ν/(y/2 + 2/ν), twice that of maximum likelihood:
    this density of the weight is as strong as the field itself. A vague one has a = b = 0.001.

    Args:
        regulariser: whose energy is y.
        weight: w to begin with.
        shape: a, or None for ν/2.
        inverse_scale: b ("rate" of the density), or None for 1/a.
        rate: of Adam for ln w.

    References:
        Simpson et al., Probabilistic inference of regularisation in non-rigid registration, NeuroImage 2012; the
        numbers are those of the released code of Grzech et al., MELBA 2021.
    """

    def __init__(
        self,
        *,
        regulariser: Regulariser,
        weight: float,
        rate: Rate,
        shape: float | None = None,
        inverse_scale: float | None = None,
    ) -> None:
        super().__init__(regulariser=regulariser, rate=rate)
        self.weight = require_positive("prior.weight", weight)
        self.shape = None if shape is None else require_positive("prior.shape", shape)
        self.inverse_scale = (
            None if inverse_scale is None else require_positive("prior.inverse_scale", inverse_scale)
        )

    def initial(self) -> list[float]:
        """Return ln w."""
        return [math.log(self.weight)]

    def negative_log(self, energy: Tensor, numbers: Tensor) -> Tensor:
        """Return the value from y (S,) and ln w (S, 1)."""
        log_weight = numbers[:, 0]
        weight = log_weight.exp()
        a = 0.5 * self.unknowns if self.shape is None else self.shape
        b = 1 / a if self.inverse_scale is None else self.inverse_scale
        field = 0.5 * weight * energy - 0.5 * self.unknowns * log_weight
        return field - (a * math.log(b) - math.lgamma(a) + a * log_weight - b * weight)
