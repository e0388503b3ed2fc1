"""How small updates of a registration add up to a transformation that does not fold."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from medreg.geometry.compose import compose
from medreg.geometry.derivatives import central_difference
from medreg.geometry.svf import exponential
from medreg.geometry.transformation import Deformation
from medreg.inference.smoothing import gaussian_smooth


class Accumulation(ABC):
    """A field (B, D, *S), voxels, to which updates are added one after the other.

    An update δ changes the transformation to φ ∘ (id + δ): the image warped so far is warped by δ. All
    gradients are with respect to this δ at 0.
    """

    @abstractmethod
    def start(self, initial: Tensor) -> Tensor:
        """The field that stands for an initial displacement (B, D, *S), voxels."""

    @abstractmethod
    def deformation(self, field: Tensor, initial: Tensor | None) -> Deformation:
        """The transformation of a field; `initial` is the displacement that the registration began with."""

    @abstractmethod
    def add(self, field: Tensor, update: Tensor, *, sigma: float) -> Tensor:
        """The field after an update, smoothed with a Gaussian of σ voxels (the elastic part)."""


class Composition(Accumulation):
    """The field is the displacement, u ← δ + u ∘ (id + δ) (Vercauteren et al., NeuroImage 2009; greedy methods).

    A composition of maps that do not fold does not fold; what interpolation on the grid adds to that is held
    off by the smoothing.
    """

    def start(self, initial: Tensor) -> Tensor:
        """The displacement itself."""
        return initial

    def deformation(self, field: Tensor, initial: Tensor | None) -> Deformation:
        """The displacement, which regularisers see too."""
        return Deformation(field, field)

    def add(self, field: Tensor, update: Tensor, *, sigma: float) -> Tensor:
        """Compose, then smooth."""
        return _smoothed(compose(field, update), sigma)


class LogDomain(Accumulation):
    """The field is a stationary velocity, v ← v + δ, and the transformation exp(v).

    First order of the Baker-Campbell-Hausdorff formula (Vercauteren et al., MICCAI 2008, log-domain demons).
    The inverse is exp(−v). An initial displacement is warped by first and is no part of the velocity.

    Args:
        steps: squarings of the exponential; each costs as much as a composition.
    """

    def __init__(self, *, steps: int) -> None:
        self.steps = steps

    def start(self, initial: Tensor) -> Tensor:
        """No velocity."""
        return initial.new_zeros(initial.shape)

    def deformation(self, field: Tensor, initial: Tensor | None) -> Deformation:
        """exp(v), after the initial displacement; regularisers see the velocity."""
        displacement = exponential(field, steps=self.steps)
        return Deformation(displacement if initial is None else compose(initial, displacement), field)

    def add(self, field: Tensor, update: Tensor, *, sigma: float) -> Tensor:
        """Add, then smooth."""
        return _smoothed(field + update, sigma)


def pulled_back(gradient: Tensor, displacement: Tensor) -> Tensor:
    """Gradient with respect to an update δ of u ↦ δ + u ∘ (id + δ), from that with respect to u: (I + ∂u)ᵀ g.

    Args:
        gradient: g (B, D, *S).
        displacement: u (B, D, *S), voxels.

    Returns:
        (B, D, *S), component a being g_a + Σ_k g_k ∂_a u_k.
    """
    result = gradient.clone()
    for axis in range(displacement.shape[1]):
        result[:, axis] += (gradient * central_difference(displacement, axis)).sum(1)
    return result


def _smoothed(field: Tensor, sigma: float) -> Tensor:
    return gaussian_smooth(field, sigma) if sigma > 0 else field
