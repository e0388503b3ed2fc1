"""Implicit solids (signed distances in mm, negative inside) and smooth noise of the brain phantom."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Vector = tuple[float, float, float]


def ellipsoid(points: Sequence[Array], centre: Vector, radii: Vector, *, tilt_deg: float = 0.0) -> Array:
    """Approximate distance to an ellipsoid, k(k − 1)/|p/r²| with k = |p/r|.

    Args:
        points: three broadcastable coordinate arrays, mm.
        centre: mm.
        radii: semi-axes, mm.
        tilt_deg: rotation in the y-z plane, positive raises the front.
    """
    x, y, z = (p - np.float32(c) for p, c in zip(points, centre, strict=True))
    if tilt_deg:
        cosine, sine = (np.float32(f(np.deg2rad(tilt_deg))) for f in (np.cos, np.sin))
        y, z = cosine * y + sine * z, cosine * z - sine * y
    squares = [np.square(p / np.float32(r)) for p, r in zip((x, y, z), radii, strict=True)]
    slopes = [s / np.float32(r * r) for s, r in zip(squares, radii, strict=True)]
    k = np.sqrt(squares[0] + squares[1] + squares[2])
    slope = np.sqrt(slopes[0] + slopes[1] + slopes[2])
    return k * (k - 1) / np.maximum(slope, np.float32(1e-4))


def tube(points: Sequence[Array], path: Sequence[tuple[float, float, float, float]]) -> Array:
    """Distance to a chain of cones with rounded ends.

    Args:
        points: three broadcastable coordinate arrays, mm.
        path: (x, y, z, radius) of the joints, mm.
    """
    parts = [_cone(points, a, b) for a, b in pairwise(path)]
    out = parts[0]
    for part in parts[1:]:
        out = smooth_union(out, part, 1.0)
    return out


def _cone(points: Sequence[Array], start: Sequence[float], end: Sequence[float]) -> Array:
    axis = np.asarray(end[:3], dtype=np.float32) - np.asarray(start[:3], dtype=np.float32)
    offsets = [p - np.float32(c) for p, c in zip(points, start[:3], strict=True)]
    along = (offsets[0] * axis[0] + offsets[1] * axis[1] + offsets[2] * axis[2]) / np.float32(axis @ axis)
    along = np.clip(along, 0, 1)
    square = sum(np.square(o - along * a) for o, a in zip(offsets, axis, strict=True))
    return np.sqrt(square) - (np.float32(start[3]) + along * np.float32(end[3] - start[3]))


def smooth_union(first: Array, second: Array, width_mm: float) -> Array:
    """Union whose crease is rounded over a width (polynomial smooth minimum)."""
    width = np.float32(width_mm)
    blend = np.clip(np.float32(0.5) + np.float32(0.5) * (second - first) / width, 0, 1)
    return second + (first - second) * blend - width * blend * (1 - blend)


def smooth_noise(
    axes: Sequence[NDArray[np.floating]], spacing_mm: float, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Cubic B-spline through no data: standard normal coefficients on a lattice, about unit variance.

    The lattice lies at fixed world coordinates: one generator state gives the same function on any grid. In
    double precision, because the order of sums may depend on the number of threads.

    Args:
        axes: world coordinates of the three axes of a grid, mm.
        spacing_mm: distance of the coefficients; shortest wavelength about twice that.
        generator: source of the coefficients.

    Returns:
        (X, Y, Z).
    """
    count = int(np.ceil(2 * REACH_MM / spacing_mm)) + 4
    out = generator.standard_normal((count, count, count)) / NORM
    for axis in axes:
        out = np.tensordot(out, _basis(axis, spacing_mm, count), axes=([0], [1]))
    return out


def _basis(axis: NDArray[np.floating], spacing_mm: float, count: int) -> NDArray[np.float64]:
    position = (np.asarray(axis, dtype=np.float64) + REACH_MM) / spacing_mm + 1
    distance = np.abs(position[:, None] - np.arange(count)[None])
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = np.clip(2 - distance, 0, None) ** 3 / 6
    return np.where(distance < 1, near, far)


def wave_noise(points: NDArray[np.float32], wavelength_mm: float, generator: np.random.Generator) -> Array:
    """Random field of one wavelength: plane waves of random direction; its zero set is a labyrinth of sheets.

    Args:
        points: (N, 3), mm.
        wavelength_mm: the wavelength.
        generator: source of directions and phases.

    Returns:
        (N,), about unit variance.
    """
    directions = generator.standard_normal((WAVES, 3))
    directions *= 2 * np.pi / wavelength_mm / np.linalg.norm(directions, axis=1, keepdims=True)
    phases = generator.uniform(0, 2 * np.pi, WAVES)
    out = np.zeros(len(points), dtype=np.float32)
    for k, phase in zip(directions.astype(np.float32), phases, strict=True):
        out += np.cos(points[:, 0] * k[0] + points[:, 1] * k[1] + points[:, 2] * k[2] + np.float32(phase))
    return out * np.float32(np.sqrt(2 / WAVES))


WAVES = 48  # plane waves of a random field; more look the same
REACH_MM = 160.0  # noise lattices cover ± this
# Root mean square over a cell of a three-dimensional cubic B-spline with unit normal coefficients.
NORM = float(np.sqrt((151 / 315) ** 3))
