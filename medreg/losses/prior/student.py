"""The Student prior of a field: a Gaussian whose weight is integrated out."""

from __future__ import annotations

from torch import Tensor

from medreg.losses.prior.base import Prior, require_positive
from medreg.losses.regularisation.base import Regulariser


class Student(Prior):
    """−ln p = (a + ν/2) ln(2b + y), the marginal of `Fixed` under w ~ Gamma(a, b) but for a constant.

    Args:
        regulariser: whose energy is y.
        shape: a.
        inverse_scale: b, the "rate" of the Gamma density, in the unit of y.
    """

    def __init__(self, *, regulariser: Regulariser, shape: float, inverse_scale: float) -> None:
        super().__init__(regulariser=regulariser)
        self.shape = require_positive("prior.shape", shape)
        self.inverse_scale = require_positive("prior.inverse_scale", inverse_scale)

    def initial(self) -> list[float]:
        """Nothing is learnt."""
        return []

    def negative_log(self, energy: Tensor, numbers: Tensor) -> Tensor:
        """Return the value from y (S,)."""
        return (self.shape + 0.5 * self.unknowns) * (2 * self.inverse_scale + energy).log()
