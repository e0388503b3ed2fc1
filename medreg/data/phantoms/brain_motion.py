"""Shapes of people: smooth invertible maps to the template, and the exact motion of a pair."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from medreg.data.phantoms.brain_anatomy import CENTRE_MM, Template, grid_axes
from medreg.data.phantoms.brain_shapes import smooth_noise
from medreg.geometry.svf import exponential
from medreg.geometry.warp import warp

TOLERANCE_VOXELS = 1e-4  # residual at which the motion of a pair counts as solved
MOST_ITERATIONS = 100


@dataclass(frozen=True)
class ShapeOptions:
    """How much subjects differ. Standard deviations.

    Attributes:
        size_percent: of the size along each axis.
        turn_deg: of rotation about each axis.
        shift_mm: of position along each axis.
        coarse_mm: of the velocity that shapes lobes.
        coarse_spacing_mm: distance of its coefficients.
        fine_mm: of the velocity that shapes gyri.
        fine_spacing_mm: distance of its coefficients.
        ventricle_mm: of the shift of the walls of the lateral ventricles.
        steps: squarings of the integration.
    """

    size_percent: float
    turn_deg: float
    shift_mm: float
    coarse_mm: float
    coarse_spacing_mm: float
    fine_mm: float
    fine_spacing_mm: float
    ventricle_mm: float
    steps: int


def subject_map(
    template: Template,
    options: ShapeOptions,
    *,
    shape: tuple[int, ...],
    affine: NDArray[np.float64],
    generator: np.random.Generator,
) -> NDArray[np.float64]:
    """Draw the map of a subject, φ = exp(v): subject → template.

    v is the sum of an affine part, two scales of smooth noise and a push on the walls of the ventricles. Its
    flow is invertible; between voxels φ is defined by linear interpolation.

    Args:
        template: where the ventricles are.
        options: how much subjects differ.
        shape: grid of the subject.
        affine: of the same grid.
        generator: of this subject.

    Returns:
        u = φ − id, (3, X, Y, Z) in voxels of the subject's grid.
    """
    axes = grid_axes(shape, affine)
    velocity_mm = _affine_velocity(axes, options, generator)
    for size, spacing in (
        (options.coarse_mm, options.coarse_spacing_mm),
        (options.fine_mm, options.fine_spacing_mm),
    ):
        velocity_mm += size * np.stack([smooth_noise(axes, spacing, generator) for _ in axes])
    velocity_mm += (
        options.ventricle_mm * generator.standard_normal() * _from_ventricles(template, shape, affine)
    )
    spacing_mm = np.diag(affine)[:3].reshape(3, 1, 1, 1)
    velocity = torch.from_numpy(velocity_mm / spacing_mm).unsqueeze(0)
    return exponential(velocity, steps=options.steps)[0].numpy()


def _affine_velocity(
    axes: list[NDArray[np.float64]], options: ShapeOptions, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Velocity of growth, rotation and shift: M (p − centre) + t, mm."""
    matrix = np.diag(options.size_percent / 100 * generator.standard_normal(3))
    x, y, z = np.deg2rad(options.turn_deg) * generator.standard_normal(3)
    matrix += np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    shift = options.shift_mm * generator.standard_normal(3)
    points = np.stack(np.meshgrid(*(a - c for a, c in zip(axes, CENTRE_MM, strict=True)), indexing="ij"))
    return np.tensordot(matrix, points, axes=1) + shift.reshape(3, 1, 1, 1)


def _from_ventricles(
    template: Template, shape: tuple[int, ...], affine: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Vectors of about unit length that point away from the lateral ventricles and fade over a centimetre."""
    spacing = float(template.affine[0, 0])
    smooth = ndimage.gaussian_filter(np.clip(template.ventricle_mm, -10, 40), 3.0 / spacing)
    axes = grid_axes(shape, affine)
    positions = [(a - template.affine[k, 3]) / spacing for k, a in enumerate(axes)]
    grid = np.stack(np.meshgrid(*positions, indexing="ij"))
    distance = ndimage.map_coordinates(smooth, grid, order=1, mode="nearest").astype(np.float64)
    slope = np.stack(list(np.gradient(distance, *np.diag(affine)[:3])))
    return slope * np.exp(-np.square(distance / 10.0))


def pair_motion(fixed_map: NDArray[np.float64], moving_map: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the motion d for which φ_moving(x + d(x)) = φ_fixed(x): the same point of the template.

    Solved by d ← u_fixed − u_moving(x + d), which converges because the maps are close to the identity, and
    rounded to 1/256 voxel, so that files stay small.

    Args:
        fixed_map: u of the fixed subject, (3, X, Y, Z), voxels.
        moving_map: u of the moving subject, on the same grid.

    Returns:
        (3, X, Y, Z) voxels of the fixed grid, pull.
    """
    target, source = (torch.from_numpy(u).unsqueeze(0) for u in (fixed_map, moving_map))
    motion = target - source
    for _ in range(MOST_ITERATIONS):
        update = target - warp(source, motion)
        change = float((update - motion).abs().max())
        motion = update
        if change < TOLERANCE_VOXELS:
            break
    return (torch.round(motion * 256) / 256)[0].numpy()
