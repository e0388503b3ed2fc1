"""How many principal components a population of hearts needs: surfaces at end-diastole, aligned, without pose."""

from __future__ import annotations

import numpy as np

from medreg.data.phantoms.hearts.geometry import THETA, Array, Shape, Surfaces, U, ventricle_radii

AROUND = 24  # points around each ring of the left ventricle
RINGS = np.linspace(0.05, 1.0, 14)  # levels of rings
RV_RINGS = np.linspace(0.35, 1.0, 10)
RV_ANGLES = np.deg2rad(np.linspace(-80, 80, 15))  # about the middle of the right ventricle


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
