"""How many principal components a population of hearts needs: surfaces at end-diastole, aligned, without pose."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medreg.data.phantoms.hearts.geometry import THETA, Array, Shape, Surfaces, U, ventricle_radii
from medreg.data.phantoms.hearts.population import Population, heart
from medreg.data.phantoms.hearts.rendering import LV, MYO, RV, HeartGrid, place

AROUND = 24  # points around each ring of the left ventricle
RINGS = np.linspace(0.05, 1.0, 14)  # levels of rings
RV_RINGS = np.linspace(0.35, 1.0, 10)
RV_ANGLES = np.deg2rad(np.linspace(-80, 80, 15))  # about the middle of the right ventricle

LABEL_RINGS = np.linspace(0.12, 0.94, 12)  # of label maps
FARTHEST_MM, STEP_MM = 75.0, 0.5  # of rays in label maps


def surface_points(made: Surfaces, shape: Shape, frame: int = 0) -> Array:
    """Return points that correspond between hearts, (P, 3) mm, from the tip of the cavity, septum toward +x.

    Rings on both surfaces of the left ventricle, and half rings on the free wall of the right one.

    Args:
        made: surfaces.
        shape: form of the same heart.
        frame: of the cycle.
    """
    table = made.table[frame]
    angles = np.linspace(0, 2 * np.pi, AROUND, endpoint=False)
    inner, outer = (np.sqrt(np.maximum(table[..., k], 0)) for k in (0, 1))
    parts = [
        np.stack(np.broadcast_arrays(_at(radius, RINGS, angles), angles, RINGS[:, np.newaxis]), -1).reshape(
            -1, 3
        )
        for radius in (inner, outer)
    ]
    _, leave = ventricle_radii(table)
    parts.append(_free_wall(leave, shape.rv_centre * made.outer_mm[frame]))
    radius, angle, level = np.concatenate(parts).T
    angle = angle + (shape.turn + shape.wring * made.contraction[frame]) * (1 - level)
    height = level * made.length_mm[frame]
    bow = 1 - (2 * height / made.length_mm[0] - 1) ** 2
    x = radius * np.cos(angle) + shape.bend_mm[0] * bow
    y = radius * np.sin(angle) + shape.bend_mm[1] * bow
    return np.stack([x, y, height + shape.tilt[0] * x + shape.tilt[1] * y], axis=1)


def population_points(population: Population, numbers: Sequence[int]) -> Array:
    """Return corresponding points of the surfaces of subjects at end-diastole, (N, P, 3) mm, without pose."""
    out = []
    for number in numbers:
        people = population.people([number])
        aims = population.drawn(people, [number], 1)
        shape = population.shape(number, aims)
        out.append(surface_points(heart(shape, aims, np.zeros(1)), shape))
    return np.stack(out)


def label_points(labels: NDArray[np.uint8], grid: HeartGrid) -> Array:
    """Return points on the surfaces of a label map, found by rays in it, (P, 3) mm from the middle of the left cavity.

    The heart must lie in the mean pose. Levels are parts of the way from the lowest to the highest point of the cavity
    above its middle; a surface is where the share of a structure, smoothed by a voxel, is one half.

    Args:
        labels: (X, Y, Z) with the codes of the files.
        grid: of the map.
    """
    spacing = np.array(grid.spacing_mm)
    solids = [np.isin(labels, codes) for codes in ((LV,), (LV, MYO), (LV, MYO, RV))]
    shares = [ndimage.gaussian_filter(solid.astype(np.float32), 1.0) for solid in solids]
    middle = np.array(ndimage.center_of_mass(solids[0])) * spacing
    right = np.array(ndimage.center_of_mass(labels == RV)) * spacing
    low, high = _span(shares[0], middle, spacing)
    around = np.linspace(0, 2 * np.pi, AROUND, endpoint=False)
    rays = [(shares[0], middle, LABEL_RINGS, around), (shares[1], middle, LABEL_RINGS, around)]
    rays.append((shares[2], right, LABEL_RINGS[3:], RV_ANGLES + place(None).septum))
    parts = []
    for share, centre, rings, angles in rays:
        height, angle = (a.ravel() for a in np.meshgrid(low + (high - low) * rings, angles, indexing="ij"))
        x, y = np.cos(angle), np.sin(angle)
        steps = np.arange(0, FARTHEST_MM, STEP_MM)[:, np.newaxis]
        at = [
            centre[0] + steps * x,
            centre[1] + steps * y,
            np.broadcast_to(height, (len(steps), len(height))),
        ]
        seen = ndimage.map_coordinates(share, [a / s for a, s in zip(at, spacing, strict=True)], order=1)
        out = np.argmax(seen < 0.5, axis=0)
        one, other = (np.take_along_axis(seen, np.maximum(out - k, 0)[np.newaxis], axis=0)[0] for k in (1, 0))
        radius = STEP_MM * (out - 1 + (one - 0.5) / np.maximum(one - other, 1e-6))
        parts.append(np.stack([centre[0] + radius * x, centre[1] + radius * y, height], axis=1))
    return np.concatenate(parts) - middle


def _span(share: NDArray[np.float32], middle: Array, spacing: Array) -> tuple[float, float]:
    """Return the heights between which the line along the axis through the middle lies in the cavity, mm."""
    height = np.arange(0, (share.shape[2] - 1) * spacing[2], STEP_MM)
    points = [np.full_like(height, middle[k]) / spacing[k] for k in (0, 1)]
    inside = ndimage.map_coordinates(share, [*points, height / spacing[2]], order=1) > 0.5
    found = height[inside]
    return float(found[0]), float(found[-1])


def explained(points: Array) -> Array:
    """Return the fraction of the variance that the first k principal components hold, k = 1 … (N or 3P,).

    Hearts are first aligned by rotation and translation, not by size, to their mean.

    Args:
        points: (N, P, 3) mm.
    """
    flat = aligned(points).reshape(len(points), -1)
    values = np.linalg.svd(flat - flat.mean(axis=0), compute_uv=False) ** 2
    return np.asarray(np.cumsum(values) / values.sum())


def aligned(points: Array, rounds: int = 3) -> Array:
    """Return the hearts after rigid alignment to their mean, (N, P, 3)."""
    centred = points - points.mean(axis=1, keepdims=True)
    for _ in range(rounds):
        mean = centred.mean(axis=0)
        u, _, v = np.linalg.svd(np.einsum("npi,pj->nij", centred, mean))
        sign = np.ones((len(points), 3))
        sign[:, 2] = np.linalg.det(u @ v)
        centred = centred @ ((u * sign[:, np.newaxis, :]) @ v)
    return centred


def _at(surface: Array, levels: Array, angles: Array) -> Array:
    """Return radii on rings, (levels, angles), linear between nodes."""
    closed = np.concatenate([surface, surface[:, :1]], axis=1)
    nodes = np.append(THETA[0], 2 * np.pi)
    around = np.stack([np.interp(angles, nodes, row) for row in closed])
    return np.stack([np.interp(levels, U[:, 0], column) for column in around.T], axis=1)


def _free_wall(leave: Array, centre: float) -> Array:
    """Return radius, angle and level of points on the free wall, seen from the middle of the right ventricle."""
    signed = np.angle(np.exp(1j * THETA[0]))
    order = np.argsort(signed)
    rings = _at(leave, RV_RINGS, THETA[0])[:, order]
    out = []
    for level, radius in zip(RV_RINGS, rings, strict=True):
        met = radius > 0
        x, y = radius[met] * np.cos(signed[order][met]) - centre, radius[met] * np.sin(signed[order][met])
        away = np.interp(RV_ANGLES, np.arctan2(y, x), np.hypot(x, y))
        x, y = away * np.cos(RV_ANGLES) + centre, away * np.sin(RV_ANGLES)
        out.append(np.stack([np.hypot(x, y), np.arctan2(y, x), np.full_like(x, level)], axis=1))
    return np.concatenate(out)
