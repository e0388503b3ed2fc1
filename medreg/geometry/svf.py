"""Stationary velocity fields: a diffeomorphism as the flow of a constant velocity over unit time."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from medreg.errors import ConfigError
from medreg.geometry.dense import Dense
from medreg.geometry.transformation import Deformation
from medreg.geometry.warp import Convention, Padding, square


def exponential(
    velocity: Tensor, *, steps: int, padding: Padding = "border", convention: Convention = "exact"
) -> Tensor:
    """Displacement of exp(v) by scaling and squaring, u ← v/2ⁿ, then n times u ← u + u ∘ (id + u).

    Args:
        velocity: v (B, D, *S), voxels per unit time.
        steps: number n of squarings.
        padding: velocity outside the grid: the "border" value, which keeps a constant velocity constant, or
            "zeros" as in the released midir.
        convention: sampling convention of `warp`; other than "exact" only to repeat released codes.

    Returns:
        (B, D, *S), voxels.

    Raises:
        ValueError: a negative number of steps.

    References:
        Arsigny et al., A Log-Euclidean Framework for Statistics on Diffeomorphisms, MICCAI 2006.
    """
    if steps < 0:
        raise ValueError(f"scaling and squaring needs a number of steps of at least 0, got {steps}")
    displacement = velocity / 2**steps
    for _ in range(steps):
        displacement = square(displacement, padding=padding, convention=convention)
    return displacement


class StationaryVelocity(Dense):
    """φ_θ = exp(θ) of a dense velocity θ (B, D, *S) in voxels; the regulariser sees the velocity.

    Args:
        steps: number of squarings.
        padding: velocity outside the grid, as in `exponential`.
        convention: sampling convention of `warp`.
    """

    def __init__(self, steps: int, *, padding: Padding = "border", convention: Convention = "exact") -> None:
        super().__init__()
        if steps < 0:
            raise ConfigError(
                f"transformation.steps is {steps}; it must be a number of squarings, 0 or more."
            )
        self.steps = steps
        self.padding: Padding = padding
        self.convention: Convention = convention

    def extra_repr(self) -> str:
        """Settings for printing."""
        return f"steps={self.steps}, padding={self.padding}, convention={self.convention}"

    def forward(self, theta: Tensor, shape: Sequence[int]) -> Deformation:
        """Integrate the velocity (B, D, *S), voxels."""
        return Deformation(displacement=self._integrate(theta), regularised=theta)

    def inverse(self, theta: Tensor, shape: Sequence[int]) -> Tensor:
        """exp(−θ), displacement (B, D, *S), voxels."""
        return self._integrate(-theta)

    def _integrate(self, velocity: Tensor) -> Tensor:
        return exponential(velocity, steps=self.steps, padding=self.padding, convention=self.convention)
