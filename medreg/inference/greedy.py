"""Registration of one pair by composing many small smooth warps, each along the gradient of the energy."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medreg.geometry.compose import resize_displacement
from medreg.geometry.derivatives import central_difference
from medreg.geometry.transformation import Deformation
from medreg.geometry.warp import warp
from medreg.inference.accumulation import Accumulation, pulled_back
from medreg.inference.descent import Effort, descend
from medreg.inference.directions import Direction, longest
from medreg.inference.level import Level, LevelImages
from medreg.inference.objective import EnergyFunction
from medreg.inference.progress import Callback, Report, reporter
from medreg.inference.registration import Registration
from medreg.inference.smoothing import gaussian_smooth
from medreg.losses.energy import Energy


@dataclass(frozen=True)
class GreedySettings:
    """How the updates are made.

    Attributes:
        direction: map from gradients to directions.
        accumulation: rule by which updates add up.
        levels: coarse to fine; `learning_rate` is the typical length of one update, voxels of the level.
        fluid: σ of the Gaussian that smooths every update, voxels of the level; 0 = none.
        elastic: σ of the Gaussian that smooths the whole field after every update, voxels of the level; 0 = none.
        longest: greatest length of an update, voxels of the level; a longer one is scaled down as a whole.
        tolerance: relative decrease of the energy over ten updates below which a level ends; 0 = never.
    """

    direction: Direction
    accumulation: Accumulation
    levels: tuple[Level, ...]
    fluid: float
    elastic: float
    longest: float
    tolerance: float


def greedy_pair(
    energy: Energy, images: LevelImages, *, settings: GreedySettings, callback: Callback | None = None
) -> Registration:
    """Lower E(φ; F, M) = D(F, M∘φ) + R(φ) by φ ← φ ∘ (id + δ), level by level, for every pair of a batch.

    With w = M∘φ the gradient of the similarity with respect to δ is (∂D/∂w) ∇w: the similarity is
    differentiated at the warped image alone and nothing behind it, so an update costs one warp of the image
    and one composition whatever the transformation has become. The update is that gradient, given a length in
    voxels and smoothed ("fluid"); the whole field may be smoothed too ("elastic"), which replaces or
    complements the gradient of the regulariser.

    The field of the lowest energy of each level goes on to the next, for each sample of the batch by itself.
    Elastic smoothing is no part of that energy.

    Args:
        energy: similarity and regularisation.
        images: the pairs on their own grid, tensors that autograd may use.
        settings: levels, directions, smoothing.
        callback: told about every evaluation.

    Raises:
        NumericalError: the energy became NaN or infinite.

    References:
        Joshi et al., IEEE TMI 2000 and Yushkevich et al., Greedy, Alzheimer's & Dementia 2016 (composition of
        smoothed updates); Jena et al., FireANTs, 2024 (adaptive directions for them).
    """
    accumulation = settings.accumulation
    with torch.no_grad():
        field = accumulation.start(_start(images))
        for number, level in enumerate(settings.levels):
            pair = images.at(level)
            field = resize_displacement(field, pair.shape)
            composed = _ComposedEnergy(energy, pair, accumulation)
            field = _descend(composed, field, level, settings, reporter(number, callback))
        field = resize_displacement(field, images.shape)
        deformation = accumulation.deformation(field, images.initial)
    return Registration(deformation.displacement, deformation.regularised, field)


class _ComposedEnergy(EnergyFunction):
    """Energies of fields at one level; their gradient is the one with respect to an update δ at 0."""

    def __init__(self, energy: Energy, pair: LevelImages, accumulation: Accumulation) -> None:
        self.energy, self.pair, self.accumulation = energy, pair, accumulation
        moving = pair.moving
        if pair.moving_mask is not None:
            moving = moving.masked_fill(pair.moving_mask == 0, 0.0)  # what Energy does: no 0·NaN
        self.moving = moving

    def __call__(self, theta: Tensor) -> Tensor:
        """Energies of fields (B, D, *S), (B,)."""
        return self.value_and_gradient(theta)[0]

    def value_and_gradient(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Energies (B,) of fields and their gradient with respect to an update, (B, D, *S)."""
        deformation = self.accumulation.deformation(theta, self.pair.initial)
        energies, gradient = self._similarity(deformation.displacement)
        if self.energy.regularisation.weight == 0:
            return energies, gradient
        penalty, pull = _regularity(self.energy, deformation, self.pair.spacing_mm)
        return energies + penalty, gradient + pull

    def _similarity(self, displacement: Tensor) -> tuple[Tensor, Tensor]:
        energy, pair = self.energy, self.pair
        warped = warp(self.moving, displacement, padding=energy.padding)
        mask = energy.overlap(displacement, pair.fixed_mask, pair.moving_mask)
        with torch.enable_grad():
            image = warped.detach().requires_grad_(True)
            values = energy.similarity.weight * energy.similarity(image, pair.fixed, mask=mask)
            (slope,) = torch.autograd.grad(values.sum(), image)
        axes = range(displacement.shape[1])
        force = [(slope * central_difference(warped, axis)).sum(1, keepdim=True) for axis in axes]
        return values.detach(), torch.cat(force, 1)


def _descend(
    objective: _ComposedEnergy, field: Tensor, level: Level, settings: GreedySettings, report: Report
) -> Tensor:
    """All updates of a level; returns the field of the lowest energy of each sample."""
    rule = settings.direction.begin(field)

    def step(field: Tensor, gradient: Tensor, iteration: int) -> Tensor:
        direction = rule(gradient)
        if settings.fluid > 0:
            direction = gaussian_smooth(direction, settings.fluid)
        tiny = torch.finfo(direction.dtype).tiny
        scale = (settings.longest / (longest(direction) + tiny)).clamp(max=level.learning_rate)
        return settings.accumulation.add(field, direction * -scale, sigma=settings.elastic)

    effort = Effort(level.iterations, level.learning_rate, settings.tolerance)
    return descend(objective, field, effort=effort, step=step, report=report).theta


def _regularity(energy: Energy, deformation: Deformation, spacing_mm: Tensor | None) -> tuple[Tensor, Tensor]:
    """Penalty (B,) and its gradient with respect to an update."""
    one_field = deformation.regularised is deformation.displacement
    with torch.enable_grad():
        displacement = deformation.displacement.detach().requires_grad_(True)
        field = displacement if one_field else deformation.regularised.detach().requires_grad_(True)
        penalty = energy.regularisation.evaluate(Deformation(displacement, field), spacing_mm=spacing_mm)
        gradients = torch.autograd.grad(
            penalty.sum(), (displacement,) if one_field else (displacement, field), materialize_grads=True
        )
    pull = pulled_back(gradients[0], deformation.displacement)
    return penalty.detach(), pull if one_field else pull + gradients[1]


def _start(images: LevelImages) -> Tensor:
    if images.initial is not None:
        return images.initial
    fixed = images.fixed
    return fixed.new_zeros(fixed.shape[0], fixed.ndim - 2, *images.shape)
