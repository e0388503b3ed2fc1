"""One level of a coarse-to-fine schedule, and the images that belong to it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from medreg.errors import ConfigError
from medreg.geometry.compose import resize, resize_displacement
from medreg.geometry.precision import at_least_single
from medreg.inference.smoothing import gaussian_smooth

SMALLEST = 8  # voxels an axis keeps at the coarsest level: fewer carry no local structure


@dataclass(frozen=True)
class Level:
    """Resolution and effort of one level.

    Attributes:
        shrink: factor ≥ 1 by which every axis is reduced (an axis never below 8 voxels).
        sigma: standard deviation of the Gaussian that smooths the images before, voxels of the full grid.
        iterations: largest number of updates.
        learning_rate: typical length of one update, voxels of the grid of the field.
        field: factor by which the grid of the field is reduced, where it should be coarser than that of the
            images: a smooth field needs fewer points than a sharp image. None = `shrink`.
    """

    shrink: float
    sigma: float
    iterations: int
    learning_rate: float
    field: float | None = None

    def shape(self, full: Sequence[int]) -> tuple[int, ...]:
        """Grid of the images of this level for images of a full shape."""
        return _reduced(full, self.shrink)

    def field_shape(self, full: Sequence[int]) -> tuple[int, ...]:
        """Grid of the field of this level for images of a full shape."""
        return _reduced(full, self.shrink if self.field is None else self.field)


@dataclass(frozen=True)
class LevelImages:
    """A pair of images with what belongs to it, on one grid.

    Attributes:
        fixed: (B, C, *S).
        moving: (B, C, *S).
        spacing_mm: (B, D) of this grid, mm; voxels of the full grid where no spacing is known.
        fixed_mask: (B, 1, *S) in [0, 1], or None.
        moving_mask: (B, 1, *S) in [0, 1], or None.
        initial: (B, D, *S) displacement to start from, voxels of this grid, or None.
    """

    fixed: Tensor
    moving: Tensor
    spacing_mm: Tensor
    fixed_mask: Tensor | None = None
    moving_mask: Tensor | None = None
    initial: Tensor | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Spatial shape S."""
        return tuple(self.fixed.shape[2:])

    def spacing_on(self, shape: Sequence[int]) -> Tensor:
        """Spacing (B, D), mm, of a grid of another size with the same corners."""
        gains = [(a - 1) / max(b - 1, 1) if a > 1 else 1.0 for a, b in zip(self.shape, shape, strict=True)]
        return self.spacing_mm * torch.tensor(gains).to(self.spacing_mm)

    def at(self, level: Level) -> LevelImages:
        """Smooth and resize images, masks and initial displacement from the full grid to a level."""
        shape = level.shape(self.shape)

        def mask(image: Tensor | None) -> Tensor | None:
            return None if image is None else resize(image.to(self.fixed), shape)

        return LevelImages(
            fixed=resize(gaussian_smooth(self.fixed, level.sigma), shape),
            moving=resize(gaussian_smooth(self.moving, level.sigma), shape),
            spacing_mm=self.spacing_on(shape),
            fixed_mask=mask(self.fixed_mask),
            moving_mask=mask(self.moving_mask),
            initial=None if self.initial is None else resize_displacement(self.initial, shape),
        )


def _reduced(full: Sequence[int], shrink: float) -> tuple[int, ...]:
    return tuple(max(math.ceil(size / shrink), min(size, SMALLEST)) for size in full)


def full_images(
    fixed: Tensor,
    moving: Tensor,
    spacing_mm: Tensor | None = None,
    fixed_mask: Tensor | None = None,
    moving_mask: Tensor | None = None,
    initial: Tensor | None = None,
) -> LevelImages:
    """The pair on its own grid, in at least single precision, with the spacing of every sample.

    Args:
        fixed: (B, C, *S).
        moving: (B, C, *S).
        spacing_mm: (B, D) or (D,) mm; None counts in voxels.
        fixed_mask: (B, 1, *S) where to compare.
        moving_mask: (B, 1, *S) where to compare, on the moving image.
        initial: (B, D, *S) displacement to start from, voxels.
    """
    fixed, moving = at_least_single(fixed), at_least_single(moving)
    ndim = fixed.ndim - 2
    spacing = fixed.new_ones(ndim) if spacing_mm is None else spacing_mm.to(fixed)
    return LevelImages(
        fixed=fixed,
        moving=moving,
        spacing_mm=spacing.expand(fixed.shape[0], ndim),
        fixed_mask=fixed_mask,
        moving_mask=moving_mask,
        initial=None if initial is None else at_least_single(initial),
    )


def _level(values: Mapping[str, Any]) -> Level:
    """Return a level from its settings.

    Raises:
        ConfigError: one lacks, is not known, or is no finite number; half an iteration.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"model.levels holds {values}; give levels such as {{shrink: 1, ...}}.")
    for key, value in values.items():
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not (number or (key == "field" and value is None)) or (key == "iterations" and value % 1):
            kind = "whole number" if key == "iterations" else "number"
            given = "null" if value is None else value
            raise ConfigError(f"model.levels: {key} is {given}; it must be a {kind}, as in {{shrink: 1}}.")
    return Level(**values)


def checked_levels(levels: Sequence[Level | Mapping[str, Any]]) -> tuple[Level, ...]:
    """Levels of a solver, coarse to fine, from their settings.

    Raises:
        ConfigError: no levels, or one with impossible values.
    """
    if not levels:
        raise ConfigError("model.levels is empty; give at least one level, such as {shrink: 1, ...}.")
    chosen = tuple(level if isinstance(level, Level) else _level(level) for level in levels)
    for number, level in enumerate(chosen):
        if level.field is not None and level.field < level.shrink:
            raise ConfigError(
                f"model.levels[{number}] has field {level.field} below shrink {level.shrink}; the grid of the field "
                "must be as coarse as that of the images, or coarser."
            )
        if level.shrink < 1 or level.sigma < 0 or level.iterations < 0 or level.learning_rate <= 0:
            raise ConfigError(
                f"model.levels[{number}] is {level}; shrink must be at least 1, sigma and iterations "
                "at least 0, learning_rate above 0."
            )
    return chosen
