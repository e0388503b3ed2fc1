"""Any regulariser of the framework as the potential of a prior."""

from __future__ import annotations

from torch import Tensor

from medreg.losses.prior.base import Prior
from medreg.losses.reduction import checked_weight
from medreg.losses.regularisation.base import Regulariser


class Potential(Prior):
    """−ln p = λ·N·R + const = λ Σ_x density(x), λ the weight of the regulariser unless one is given.

    R is a mean over voxels and a log density is a sum: N, the number of points of its grid, turns one into the
    other. With `Diffusion` λ is half the weight of `Fixed`.

    Args:
        regulariser: R.
        weight: λ, nats a voxel; None takes the regulariser's own.
    """

    def __init__(self, *, regulariser: Regulariser, weight: float | None = None) -> None:
        super().__init__(regulariser=regulariser)
        self.weight = regulariser.weight if weight is None else checked_weight(weight, "prior")

    def initial(self) -> list[float]:
        """Nothing is learnt."""
        return []

    def negative_log(self, energy: Tensor, numbers: Tensor) -> Tensor:
        """Return the value from y (S,)."""
        return self.weight * energy
