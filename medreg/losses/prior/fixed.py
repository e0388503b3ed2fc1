"""The Gaussian prior of a field whose weight is chosen."""

from __future__ import annotations

import math

from torch import Tensor

from medreg.losses.prior.base import Prior, require_positive
from medreg.losses.regularisation.base import Regulariser


class Fixed(Prior):
    """−ln p = ½ w y − ½ ν ln w, the Gaussian with precision w on the derivatives of the field.

    Args:
        regulariser: whose energy is y.
        weight: w, one over the unit of y.
    """

    def __init__(self, *, regulariser: Regulariser, weight: float) -> None:
        super().__init__(regulariser=regulariser)
        self.weight = require_positive("prior.weight", weight)

    def initial(self) -> list[float]:
        """Nothing is learnt."""
        return []

    def negative_log(self, energy: Tensor, numbers: Tensor) -> Tensor:
        """Return the value from y (S,)."""
        return 0.5 * self.weight * energy - 0.5 * self.unknowns * math.log(self.weight)
