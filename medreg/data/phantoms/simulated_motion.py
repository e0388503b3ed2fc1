"""Motions that no prior of a model has made: local bumps, and organs that slide along each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from medreg.errors import ConfigError

Array = NDArray[np.float64]
STEEPEST = 0.9  # slope of a bump, below that at which it folds


class Motion(Protocol):
    """A law of displacements."""

    def draw(
        self, shape: Sequence[int], spacing_mm: Sequence[float], generator: np.random.Generator
    ) -> Array:
        """Draw a displacement (D, *S), voxels, pull direction."""


@dataclass(frozen=True)
class BumpMotion:
    """A few Gaussian bumps of motion: smooth in some places and still in others, as no stationary prior is.

    Attributes:
        count: bumps.
        size_mm: standard deviation of each component of a bump's height; cut where the bump would fold.
        radius_mm: least and most radius (standard deviation of the Gaussian).
    """

    count: int
    size_mm: float
    radius_mm: Sequence[float]

    def __post_init__(self) -> None:
        if self.count < 1 or self.size_mm <= 0 or len(self.radius_mm) != 2 or min(self.radius_mm) <= 0:
            raise ConfigError(
                "data.dataset.prepare.motion needs count ≥ 1, size_mm > 0 and two positive numbers as radius_mm, not "
                f"{self.count}, {self.size_mm} and {list(self.radius_mm)}."
            )

    def draw(
        self, shape: Sequence[int], spacing_mm: Sequence[float], generator: np.random.Generator
    ) -> Array:
        """Draw a displacement (D, *S), voxels, pull direction."""
        points = _points_mm(shape, spacing_mm)
        extent = np.array(shape) * np.array(spacing_mm)
        out = np.zeros_like(points)
        for _ in range(self.count):
            centre = _column(extent * generator.uniform(0.15, 0.85, len(shape)), len(shape))
            radius = generator.uniform(min(self.radius_mm), max(self.radius_mm))
            height = self.size_mm * generator.standard_normal(len(shape))
            # The steepest slope of a bump is height / (radius √e), and bumps overlap.
            height *= min(1.0, STEEPEST * radius * np.exp(0.5) / self.count**0.5 / np.linalg.norm(height))
            weight = np.exp(-0.5 * np.square((points - centre) / radius).sum(0))
            out += _column(height, len(shape)) * weight
        return out / _column(np.array(spacing_mm), len(shape))


@dataclass(frozen=True)
class SlidingMotion:
    """Two halves of the image that slide along a plane in opposite directions, as lung and chest wall do.

    Attributes:
        size_mm: standard deviation of the shift of one half against the other.
        width_mm: over which the shift changes its sign.
        reach_mm: distance from the plane at which the shift has fallen to e^−½.
    """

    size_mm: float
    width_mm: float
    reach_mm: float

    def __post_init__(self) -> None:
        if min(self.size_mm, self.width_mm, self.reach_mm) <= 0:
            raise ConfigError("data.dataset.prepare.motion needs positive size_mm, width_mm and reach_mm.")

    def draw(
        self, shape: Sequence[int], spacing_mm: Sequence[float], generator: np.random.Generator
    ) -> Array:
        """Draw a displacement (D, *S), voxels, pull direction."""
        points, dims = _points_mm(shape, spacing_mm), len(shape)
        normal = _unit(generator.standard_normal(dims))
        along = generator.standard_normal(dims)
        along = _unit(along - normal * (along @ normal))
        centre = np.array(shape) * np.array(spacing_mm) * generator.uniform(0.35, 0.65, dims)
        distance = np.tensordot(normal, points - _column(centre, dims), axes=1)
        size = 0.5 * self.size_mm * generator.standard_normal()
        profile = (
            size * np.tanh(distance / self.width_mm) * np.exp(-0.5 * np.square(distance / self.reach_mm))
        )
        return _column(along / np.array(spacing_mm), dims) * profile


def _points_mm(shape: Sequence[int], spacing_mm: Sequence[float]) -> Array:
    axes = [np.arange(n) * s for n, s in zip(shape, spacing_mm, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"))


def _column(vector: Array, dims: int) -> Array:
    return np.asarray(vector).reshape(-1, *[1] * dims)


def _unit(vector: Array) -> Array:
    return np.asarray(vector / np.linalg.norm(vector))
