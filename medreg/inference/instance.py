"""Registration of one pair by minimising its energy, coarse to fine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medreg.geometry.compose import compose, resize_displacement
from medreg.geometry.transformation import Deformation, Transformation
from medreg.inference.descent import Effort, Minimiser, Trace
from medreg.inference.level import Level, LevelImages, full_images
from medreg.inference.progress import Callback, reporter
from medreg.inference.smoothing import gaussian_smooth
from medreg.losses.energy import Energy
from medreg.models.base import Registration, check_pair
from medreg.models.blocks.precision import at_least_single, outside_inference_mode


@dataclass(frozen=True)
class Settings:
    """How the energy of a pair is lowered.

    Attributes:
        minimiser: Adam or LBFGS.
        levels: coarse to fine; the last one usually has shrink 1.
        smoothing: σ of the Gaussian that smooths every update field, voxels of the level; 0 = none. This is
            what greedy and demons-type methods call fluid regularisation.
        tolerance: relative decrease of the energy over ten updates below which a level ends; 0 = never.
    """

    minimiser: Minimiser
    levels: tuple[Level, ...]
    smoothing: float
    tolerance: float


def optimise_pair(
    energy: Energy,
    transformation: Transformation,
    fixed: Tensor,
    moving: Tensor,
    *,
    settings: Settings,
    initial: Tensor | None = None,
    spacing_mm: Tensor | None = None,
    fixed_mask: Tensor | None = None,
    moving_mask: Tensor | None = None,
    callback: Callback | None = None,
    start: Tensor | None = None,
) -> Registration:
    """Find θ that minimises E(θ; F, M) = D(F, M∘φ_θ) + R(φ_θ), level by level, for every pair of a batch.

    Between levels θ is resampled with its lengths rescaled. The parameters of the lowest energy of each level
    go on to the next; at the last level the starting point itself is a candidate, so that the answer is
    never worse in energy than the start.

    With an initial displacement u₀ the update u_θ is composed with it, u(x) = u_θ(x) + u₀(x + u_θ(x)): the
    moving image is warped by u₀ first. Regularisers see u where the transformation is a displacement, and
    the velocity of the update where it is a velocity (u₀ then is taken as it is).

    The energies of a regulariser in millimetres mean the same at every level, since each level has its own
    spacing; without a spacing the voxel of the full grid takes the place of the millimetre.

    Args:
        energy: similarity and regularisation.
        transformation: map from θ to displacement.
        fixed: (B, C, *S).
        moving: (B, C, *S).
        settings: levels, minimiser, smoothing, tolerance.
        initial: (B, D, *S) displacement to start from, voxels.
        spacing_mm: (B, D) or (D,) mm.
        fixed_mask: (B, 1, *S) where to compare.
        moving_mask: (B, 1, *S) where to compare, on the moving image.
        callback: told about every evaluation.
        start: (B, *parameter_shape) of the full grid, θ to begin with in place of the identity.

    Raises:
        NumericalError: the energy became NaN or infinite.
    """
    check_pair(fixed, moving)

    def run(theta: Tensor | None, *tensors: Tensor | None) -> Registration:
        names = ("fixed", "moving", "spacing_mm", "fixed_mask", "moving_mask", "initial")
        images = full_images(**dict(zip(names, tensors, strict=True)))  # type: ignore[arg-type]
        return _coarse_to_fine(
            energy, transformation, images, settings=settings, callback=callback, start=theta
        )

    return outside_inference_mode(run, start, fixed, moving, spacing_mm, fixed_mask, moving_mask, initial)


def _coarse_to_fine(
    energy: Energy,
    transformation: Transformation,
    images: LevelImages,
    *,
    settings: Settings,
    callback: Callback | None,
    start: Tensor | None,
) -> Registration:
    """All levels on images that autograd may use."""
    first = _identity(transformation, images, images.shape) if start is None else at_least_single(start)
    theta, old = first, images.shape
    for number, level in enumerate(settings.levels):
        grid = level.field_shape(images.shape)
        theta = _resample(transformation, theta, old, grid)
        objective = _Objective(energy, transformation, images, level)
        trace = settings.minimiser.minimise(
            objective,
            theta,
            effort=Effort(level.iterations, level.learning_rate, settings.tolerance),
            smooth=_smoother(theta, level.shape(images.shape), settings.smoothing),
            report=reporter(number, callback),
            project=transformation.project,
        )
        if number == len(settings.levels) - 1:
            _consider_start(trace, objective, _resample(transformation, first, images.shape, grid))
        theta, old = trace.theta, grid
    with torch.no_grad():
        if settings.levels and settings.levels[-1].field is not None:
            return _upsampled(transformation, theta, old, images)
        theta = _resample(transformation, theta, old, images.shape)
        deformation = total_deformation(transformation(theta, images.shape), images.initial)
    return Registration(deformation.displacement, deformation.regularised, theta)


def _upsampled(
    transformation: Transformation, theta: Tensor, grid: Sequence[int], images: LevelImages
) -> Registration:
    """The answer of a field on a coarser grid: the displacement that the last level saw, not a finer flow."""
    update = transformation(theta, grid)
    displacement = resize_displacement(update.displacement, images.shape)
    full = Deformation(
        displacement,
        displacement
        if update.regularised is update.displacement
        else resize_displacement(update.regularised, images.shape),
    )
    deformation = total_deformation(full, images.initial)
    parameters = _resample(transformation, theta, grid, images.shape)
    return Registration(deformation.displacement, deformation.regularised, parameters)


def total_deformation(update: Deformation, initial: Tensor | None) -> Deformation:
    """The update composed with the initial displacement, see `optimise_pair` for the rule."""
    if initial is None:
        return update
    total = compose(initial, update.displacement)
    of_displacement = update.regularised is update.displacement
    return Deformation(total, total if of_displacement else update.regularised)


class _Objective:
    """Energies of one level as a function of θ, whose grid may be coarser than that of the images."""

    def __init__(
        self, energy: Energy, transformation: Transformation, images: LevelImages, level: Level
    ) -> None:
        self.energy, self.transformation, self.pair = energy, transformation, images.at(level)
        self.grid = level.field_shape(images.shape)
        self.spacing_mm = images.spacing_on(self.grid)
        initial = images.initial
        self.initial = None if initial is None else resize_displacement(initial, self.grid)

    def __call__(self, theta: Tensor) -> Tensor:
        energy, pair = self.energy, self.pair
        update = self.transformation(theta, self.grid)
        deformation = total_deformation(update, self.initial)
        displacement = deformation.displacement
        if self.grid != pair.shape:
            fine = resize_displacement(update.displacement, pair.shape)
            displacement = fine if pair.initial is None else compose(pair.initial, fine)
        similarity, _ = energy.dissimilarity(
            pair.fixed, pair.moving, displacement, fixed_mask=pair.fixed_mask, moving_mask=pair.moving_mask
        )
        penalty = energy.regularisation.evaluate(deformation, spacing_mm=self.spacing_mm)
        return energy.similarity.weight * similarity + penalty


def _identity(transformation: Transformation, images: LevelImages, shape: Sequence[int]) -> Tensor:
    fixed = images.fixed
    return transformation.identity(fixed.shape[0], shape, dtype=fixed.dtype, device=fixed.device)


def _resample(
    transformation: Transformation, theta: Tensor, old: Sequence[int], new: Sequence[int]
) -> Tensor:
    return theta if tuple(old) == tuple(new) else transformation.resample(theta, old, new)


def _smoother(theta: Tensor, shape: Sequence[int], sigma: float) -> Callable[[Tensor], Tensor]:
    """Gaussian smoothing of updates; σ counts voxels, so on a control grid it shrinks by its spacing."""
    grid = theta.shape[2:]
    if sigma <= 0 or not grid:
        return lambda update: update
    widths = [sigma * points / size for points, size in zip(grid, shape, strict=True)]
    return lambda update: gaussian_smooth(update, widths)


def _consider_start(trace: Trace, objective: _Objective, start: Tensor) -> None:
    """Let the starting point compete with what was found."""
    with torch.no_grad():
        trace.add(start, objective(start))
