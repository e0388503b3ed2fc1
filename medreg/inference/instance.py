"""Registration of one pair by minimising its energy, coarse to fine."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medreg.errors import ConfigError
from medreg.geometry.compose import resize_displacement
from medreg.geometry.transformation import Deformation, Transformation
from medreg.inference.descent import Effort, Minimiser, Trace
from medreg.inference.level import Level, LevelImages
from medreg.inference.objective import PairEnergy, total_deformation
from medreg.inference.progress import Callback, reporter
from medreg.inference.registration import Registration
from medreg.inference.smoothing import gaussian_smooth
from medreg.losses.energy import Energy


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

    def __post_init__(self) -> None:
        for name, value in (("smoothing", self.smoothing), ("tolerance", self.tolerance)):
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"model.{name} is {value}; it must be a finite number, 0 or more.")


def optimise_pair(
    energy: Energy,
    transformation: Transformation,
    images: LevelImages,
    *,
    settings: Settings,
    callback: Callback | None = None,
    start: Tensor | None = None,
) -> Registration:
    """Find θ that minimises E(θ; F, M) = w·D(F, M∘φ_θ) + R(φ_θ), level by level, for every pair of a batch.

    Between levels θ is resampled with its lengths rescaled. The parameters of the lowest energy of each level
    go on to the next; at the last level the starting point itself is a candidate, so that the answer is
    never worse in energy than the start. `PairEnergy` says how an initial displacement enters.

    The energies of a regulariser in millimetres mean the same at every level, since each level has its own
    spacing; without a spacing the voxel of the full grid takes the place of the millimetre.

    Args:
        energy: similarity and regularisation.
        transformation: map from θ to displacement.
        images: the pairs on their own grid, tensors that autograd may use.
        settings: levels, minimiser, smoothing, tolerance.
        callback: told about every evaluation.
        start: (B, *parameter_shape) of the full grid, θ to begin with in place of the identity.

    Raises:
        NumericalError: the energy became NaN or infinite.
    """
    first = PairEnergy(energy, transformation, images).identity() if start is None else start
    theta, old = first, images.shape
    for number, level in enumerate(settings.levels):
        grid = level.field_shape(images.shape)
        theta = _resample(transformation, theta, old, grid)
        objective = PairEnergy(energy, transformation, images, level=level)
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


def _consider_start(trace: Trace, objective: PairEnergy, start: Tensor) -> None:
    """Let the starting point compete with what was found."""
    with torch.no_grad():
        trace.add(start, objective(start))
