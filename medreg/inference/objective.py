"""The registration energy of given images as a function of θ: what is minimised, sampled and approximated."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from medreg.errors import DataError
from medreg.geometry.compose import compose, resize_displacement
from medreg.geometry.transformation import Deformation, Transformation
from medreg.inference.level import Level, LevelImages
from medreg.losses.energy import Energy, EnergyValue


class EnergyFunction(ABC):
    """Energies (B,) of parameters θ (B, ...), of which no sample sees another."""

    @abstractmethod
    def __call__(self, theta: Tensor) -> Tensor:
        """Energy of every sample, (B,), differentiable in θ (B, ...)."""

    def value_and_gradient(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Energies (B,) at θ and the gradient of each with respect to its own θ, (B, ...), neither on a graph."""
        with torch.enable_grad():
            point = theta.detach().requires_grad_(True)
            energies = self(point)
            (gradient,) = torch.autograd.grad(energies.sum(), point)
        return energies.detach(), gradient


class PairEnergy(EnergyFunction):
    """E(θ; F, M) = w·D(F, M ∘ φ_θ) + R(φ_θ; λ) of B pairs on one grid.

    D and R are means over voxels, so that w and λ do not depend on the size of the image. The log-density of a
    posterior is a sum over voxels: there w and λ carry their number, see docs/explanation/energy.md.

    With an initial displacement u₀ the update u_θ is composed with it, u(x) = u_θ(x) + u₀(x + u_θ(x)): the moving
    image is warped by u₀ first. Regularisers see u where the transformation is a displacement, and the velocity
    of the update where it is a velocity (u₀ then is taken as it is).

    Works in float32 and float64, whatever the images are; wherever the gradient is wanted, the images must not be
    tensors of `torch.inference_mode`.

    Args:
        energy: similarity D and regulariser R.
        transformation: from θ to displacement.
        images: the pairs, see `medreg.inference.level.full_images`.
        level: resolution of images and field; None takes the images as they are.
        data_weight: w, a number or (B,); None takes the similarity's own.
        weight: λ, a number, (B,) or a map (B or 1, 1, *grid); None takes the regulariser's own.

    Attributes:
        images: the pairs on the grid of the level.
        grid: spatial size that θ belongs to, which may be coarser than that of the images.
    """

    def __init__(
        self,
        energy: Energy,
        transformation: Transformation,
        images: LevelImages,
        *,
        level: Level | None = None,
        data_weight: float | Tensor | None = None,
        weight: float | Tensor | None = None,
    ) -> None:
        self.energy, self.transformation = energy, transformation
        self.images = images if level is None else images.at(level)
        self.grid = images.shape if level is None else level.field_shape(images.shape)
        self.data_weight, self.weight = data_weight, weight
        self._spacing_mm = images.spacing_on(self.grid)
        initial = images.initial
        self._initial = None if initial is None else resize_displacement(initial, self.grid)

    @property
    def shape(self) -> tuple[int, ...]:
        """Size of θ, (B, *parameter_shape(grid))."""
        return (len(self.images.fixed), *self.transformation.parameter_shape(self.grid))

    def identity(self) -> Tensor:
        """θ of the identity map, or of the initial displacement where there is one."""
        fixed = self.images.fixed
        return self.transformation.identity(len(fixed), self.grid, dtype=fixed.dtype, device=fixed.device)

    def __call__(self, theta: Tensor) -> Tensor:
        """Energies w·D + R, (B,)."""
        return self.evaluate(theta).energies

    def parts(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """D without its weight and R with its weight, (B,) each."""
        value = self.evaluate(theta)
        return value.similarity, value.regularisation

    def deformation(self, theta: Tensor) -> Deformation:
        """The transformation of θ on its grid, after the initial displacement."""
        return total_deformation(self.transformation(theta, self.grid), self._initial)

    def evaluate(self, theta: Tensor) -> EnergyValue:
        """Both terms, their weights and the warped image.

        Args:
            theta: (B, *parameter_shape(grid)), lengths in voxels of the grid.

        Raises:
            DataError: θ of another size.
        """
        if theta.shape != self.shape:
            raise DataError(
                f"θ has shape {tuple(theta.shape)} but this energy takes {self.shape}; start from identity(), and "
                "use chains(n) for several θ of one pair."
            )
        energy, images = self.energy, self.images
        update = self.transformation(theta, self.grid)
        deformation = total_deformation(update, self._initial)
        displacement = deformation.displacement
        if self.grid != images.shape:
            fine = resize_displacement(update.displacement, images.shape)
            displacement = fine if images.initial is None else compose(images.initial, fine)
        similarity, warped = energy.dissimilarity(
            images.fixed,
            images.moving,
            displacement,
            fixed_mask=images.fixed_mask,
            moving_mask=images.moving_mask,
        )
        penalty = energy.regularisation.evaluate(deformation, spacing_mm=self._spacing_mm, weight=self.weight)
        return EnergyValue(similarity, penalty, warped, energy.data_weight(self.data_weight, similarity))

    def weighted(
        self, *, data_weight: float | Tensor | None = None, weight: float | Tensor | None = None
    ) -> PairEnergy:
        """The same images under other weights; None keeps the one that there is.

        Args:
            data_weight: w, a number or (B,).
            weight: λ, a number, (B,) or a map.
        """
        other = copy.copy(self)
        other.data_weight = self.data_weight if data_weight is None else data_weight
        other.weight = self.weight if weight is None else weight
        return other

    def chains(self, count: int) -> PairEnergy:
        """The energy of `count` chains of every pair in one batch, θ (count·B, ...) with chain c at c·B to (c + 1)·B.

        The images of one pair are shared by its chains, not copied; those of several pairs are repeated.
        """
        other = copy.copy(self)
        other.images = LevelImages(
            **{name: repeated(tensor, count) for name, tensor in vars(self.images).items()}
        )
        other._spacing_mm, other._initial, other.data_weight, other.weight = (
            repeated(each, count) for each in (self._spacing_mm, self._initial, self.data_weight, self.weight)
        )
        return other


def total_deformation(update: Deformation, initial: Tensor | None) -> Deformation:
    """The update composed with the initial displacement, see `PairEnergy` for the rule."""
    if initial is None:
        return update
    total = compose(initial, update.displacement)
    of_displacement = update.regularised is update.displacement
    return Deformation(total, total if of_displacement else update.regularised)


def repeated(value: Any, count: int) -> Any:
    """A tensor (B, ...) once for every chain, (count·B, ...); a number or None as it is."""
    if not isinstance(value, Tensor) or value.ndim == 0:
        return value
    rest = value.shape[1:]
    return value.expand(count, *rest) if len(value) == 1 else value.repeat(count, *[1] * len(rest))
