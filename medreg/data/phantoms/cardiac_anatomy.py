"""The heart at end-diastole: labels of a slice, painted ventricles with muscles, trabeculae and fat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medreg.data.phantoms.cardiac_canvas import Array, Canvas, inside
from medreg.data.phantoms.cardiac_heart import ANGLES, RV_WALL_MM, THETA, Slice

LABELS = {"RV": 1, "MYO": 2, "LV": 3}  # ACDC's codes
SMALLEST_RV_MM = 1.0
FINE = 4 * ANGLES  # samples of a contour when it is looked up


@dataclass(frozen=True)
class Detail:
    """What varies between hearts inside their contours.

    Attributes:
        papillary: angle and size (fraction of the radius) of the two papillary muscles, (2, 2).
        trabeculae: (FINE,) how far they reach into the left cavity, fraction of the radius.
        rv_trabeculae: (FINE,) the same for the right one, fraction of its width.
        fat: (ANGLES,) thickness of the fat on the heart, mm.
    """

    papillary: NDArray[np.float64]
    trabeculae: NDArray[np.float64]
    rv_trabeculae: NDArray[np.float64]
    fat: NDArray[np.float64]


def draw_detail(rv_angle: float, generator: np.random.Generator) -> Detail:
    """Draw the details of a heart whose right ventricle lies in a direction (radians)."""
    g = generator
    angles = rv_angle + np.pi + np.array([0.75, -0.85]) + g.normal(0, 0.15, 2)
    fine = 2 * np.pi * np.arange(FINE) / FINE
    waves = sum(np.sin(k * fine + g.uniform(0, 2 * np.pi)) for k in g.integers(4, 24, 9)) / 3
    rv_waves = sum(np.sin(k * fine + g.uniform(0, 2 * np.pi)) for k in g.integers(8, 36, 9)) / 3
    grooves = np.exp(-np.square(np.angle(np.exp(1j * (THETA - rv_angle - 1.5))) / 0.5))
    grooves += 0.8 * np.exp(-np.square(np.angle(np.exp(1j * (THETA - rv_angle + 1.5))) / 0.5))
    fat = 0.4 + g.uniform(4, 9) * grooves + 1.6 * np.square(np.sin(1.5 * THETA + g.uniform(0, 6)))
    sizes = g.uniform(0.16, 0.24, 2)
    return Detail(
        np.stack([angles, sizes], 1), np.maximum(waves - 0.4, 0), np.maximum(rv_waves - 0.2, 0), fat
    )


class Polar:
    """Points in polar coordinates about the left ventricle, on which contours are looked up.

    Args:
        x: mm from the centre along the first axis.
        y: along the second.
    """

    def __init__(self, x: NDArray[np.floating], y: NDArray[np.floating]) -> None:
        self.radius = np.hypot(x, y).astype(np.float32)
        self.angle = np.arctan2(y, x).astype(np.float32)
        position = np.mod(self.angle, np.float32(2 * np.pi)) * np.float32(FINE / (2 * np.pi))
        self._below = np.minimum(position.astype(np.int32), FINE - 1)
        self._rest = position - self._below

    def contour(self, samples: NDArray[np.float64]) -> Array:
        """Radius of a contour in the direction of each point."""
        closed = np.append(samples, samples[:1])
        fine = np.interp(np.arange(FINE) / FINE * len(samples), np.arange(len(closed)), closed).astype(
            np.float32
        )
        return fine[self._below] + self._rest * (np.roll(fine, -1) - fine)[self._below]


def label_slice(polar: Polar, s: Slice) -> NDArray[np.uint8]:
    """Labels of ACDC at end-diastolic points; muscles and trabeculae inside a cavity count as cavity."""
    labels = np.zeros(polar.radius.shape, dtype=np.uint8)
    if s.is_empty:
        return labels
    epi, rv = polar.contour(s.epi), polar.contour(s.rv)
    labels[(polar.radius < rv) & (rv - epi > SMALLEST_RV_MM)] = LABELS["RV"]
    labels[polar.radius < epi] = LABELS["MYO"]
    labels[polar.radius < polar.contour(s.endo)] = LABELS["LV"]
    return labels


def paint_heart(
    canvas: Canvas,
    polar: Polar,
    s: Slice,
    detail: Detail,
    *,
    grain: Array,
    width: float,
    where: tuple[slice, slice],
) -> Array:
    """Paint one level of the heart.

    Args:
        canvas: to paint on.
        polar: points of the part of the grid that holds the heart.
        s: contours.
        detail: what lies inside them.
        grain: texture of the muscle at the points, unit variance.
        width: of borders, mm.
        where: the part of the grid.

    Returns:
        share of blood at the points.
    """
    r = polar.radius
    if s.is_empty:
        return np.zeros_like(r)
    epi, rv, endo = polar.contour(s.epi), polar.contour(s.rv), polar.contour(s.endo)
    texture = 1 + np.float32(0.05) * grain
    outside = rv + np.float32(RV_WALL_MM) * np.clip((rv - epi) / 4, 0, 1)
    fleshy = np.clip(grain - 0.6, 0, 1)  # islands of muscle near a wall
    fat = polar.contour(detail.fat) * np.float32(1 - 0.3 * min(s.level, 1))
    canvas.paint(inside(r - outside - fat - 1.4, width), "pericardium", where=where)
    canvas.paint(inside(r - outside - fat, width), "fat", where=where, gain=0.85)
    canvas.paint(inside(r - outside, width), "myocardium", where=where, gain=texture)
    # trabeculae grow from the free wall of the right ventricle and fill it towards the apex
    reach = polar.contour(detail.rv_trabeculae) * (0.16 + 0.3 * max(s.level, 0)) * (rv - epi)
    rv_blood = inside(r - rv + reach, 1.5 * width) * inside(epi - r, width)
    rv_blood *= inside(np.float32(SMALLEST_RV_MM) - (rv - epi), 1.0)
    rv_blood *= 1 - np.float32(0.7) * fleshy * np.clip(1 - (rv - r) / (8 + 12 * np.float32(s.level)), 0, 1)
    canvas.paint(rv_blood, "blood", where=where, gain=0.93)
    canvas.paint(inside(r - epi, width), "myocardium", where=where, gain=texture)
    scar = polar.contour(s.scar)
    depth = (r - endo) / np.maximum(epi - endo, 1)
    dead = np.clip(4 * (scar - 0.45), 0, 1) * inside(depth - 0.25 - 0.5 * scar, 0.3) * inside(r - epi, width)
    canvas.paint(dead.astype(np.float32), "scar", where=where)
    if endo.max() <= 0:
        return rv_blood
    blood = inside(
        r - endo * (1 - np.float32(0.07 + 0.2 * s.level) * polar.contour(detail.trabeculae)), 1.2 * width
    )
    blood *= 1 - np.float32(0.6) * fleshy * np.clip(1 - (endo - r) / (3 + 6 * np.float32(s.level)), 0, 1)
    blood *= 1 - _papillary(polar, s, detail, width)
    canvas.paint(blood, "blood", where=where)
    return np.maximum(blood, rv_blood)


def _papillary(polar: Polar, s: Slice, detail: Detail, width: float) -> Array:
    """Share of papillary muscle; near the apex they join the wall, near the base they end in cords."""
    cover = np.zeros_like(polar.radius)
    present = np.clip((s.level - 0.18) / 0.15, 0, 1) * np.clip((0.95 - s.level) / 0.1, 0, 1)
    if present <= 0:
        return cover
    x, y = polar.radius * np.cos(polar.angle), polar.radius * np.sin(polar.angle)
    for angle, size in detail.papillary:
        rim = float(np.interp(np.mod(angle, 2 * np.pi), THETA, s.endo, period=2 * np.pi))
        place = rim * (0.66 + 0.12 * s.level)
        along, across = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
        k = np.sqrt(np.square((along - place) / 1.25) + np.square(across))
        cover = np.maximum(cover, inside((k - size * rim).astype(np.float32), 1.5 * width))
    return cover * np.float32(0.85 * present)
