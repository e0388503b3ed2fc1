"""The beating of one slice: a smooth invertible map of the plane, exactly known in both directions.

φ = B ∘ T ∘ S takes a point of the end-diastolic slice to where it is in a frame. S moves along rays from the
centre of the left ventricle so that areas of cavity, muscle and right ventricle change by prescribed ratios;
T twists; B shifts the heart as a whole and adds a little irregularity. All fade to the identity outside the
heart. There is no motion through the plane: longitudinal shortening shows as growth of the muscle's area.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medreg.data.phantoms.cardiac_heart import ANGLES, RV_WALL_MM, Array, Slice

STEP_MM = 0.5  # of the tables along a ray
SMALLEST_MM = 4.0  # radius that stands in for an absent cavity
FADE_MM = 20.0  # distance outside the heart over which its motion fades
TOLERANCE_MM = 1e-4
MOST_ITERATIONS = 20


@dataclass(frozen=True)
class Drift:
    """Shift of the whole heart and irregular motion, at end-systole.

    Attributes:
        shift: (2,) mm.
        amplitude: (M, 2) of plane waves, mm.
        wave: (M, 2) wave vectors, 1/mm.
        phase: (M,).
        reach_mm: nothing moves beyond.
    """

    shift: Array
    amplitude: Array
    wave: Array
    phase: Array
    reach_mm: float

    def __call__(self, points: Array) -> Array:
        """Displacement at points (2, …), mm."""
        fade = np.square(np.maximum(0.0, 1 - np.square(points).sum(0) / self.reach_mm**2))
        out = np.zeros_like(points) + self.shift.reshape(2, *[1] * (points.ndim - 1))
        for amplitude, wave, phase in zip(self.amplitude, self.wave, self.phase, strict=True):
            swing = np.sin(wave[0] * points[0] + wave[1] * points[1] + phase)
            out += amplitude.reshape(2, *[1] * (points.ndim - 1)) * swing
        return out * fade


def draw_drift(reach_mm: float, generator: np.random.Generator) -> Drift:
    """Draw the shift (a few millimetres) and three plane waves of about half a millimetre."""
    shift = generator.uniform(-2.5, 2.5, 2)
    angle = generator.uniform(0, 2 * np.pi, 3)
    wave = 2 * np.pi / generator.uniform(50, 80, (3, 1)) * np.stack([np.cos(angle), np.sin(angle)], 1)
    return Drift(shift, generator.normal(0, 0.45, (3, 2)), wave, generator.uniform(0, 2 * np.pi, 3), reach_mm)


@dataclass(frozen=True)
class SliceMotion:
    """φ of one slice, mm about the centre of the left ventricle; contraction 0 is diastole, 1 systole.

    Attributes:
        slice: contours and area ratios.
        twist: rotation at end-systole, radians.
        drift: of the heart as a whole.
    """

    slice: Slice
    twist: float
    drift: Drift

    @property
    def reach_mm(self) -> float:
        """Radius outside which nothing moves."""
        if self.slice.is_empty:
            return self.drift.reach_mm
        return max(self.drift.reach_mm, float(np.sqrt(self._knots[0][-1].max())))

    def inverse(self, points: Array, contraction: float) -> Array:
        """Where the tissue at points of a frame lies at end-diastole.

        Args:
            points: (2, …) mm from the centre of the left ventricle.
            contraction: of the frame.
        """
        if contraction == 0:
            return points
        points = points - contraction * self.drift(points)
        if self.slice.is_empty:
            return points
        radius, angle = np.hypot(points[0], points[1]), np.arctan2(points[1], points[0])
        angle = angle - contraction * self._turn(radius)
        radius = _look_up(_inverted(self._forward_table(contraction)), radius, angle)
        return np.stack([radius * np.cos(angle), radius * np.sin(angle)])

    def forward(self, points: Array, contraction: float) -> Array:
        """Where end-diastolic points are in a frame: the inverse of `inverse`, to 1e-3 mm."""
        if contraction == 0:
            return points
        start = points if self.slice.is_empty else self._contract(points, contraction)
        out = start
        for _ in range(MOST_ITERATIONS):
            before, out = out, start + contraction * self.drift(out)
            if np.abs(out - before).max(initial=0.0) < TOLERANCE_MM:
                break
        return out

    def _contract(self, points: Array, contraction: float) -> Array:
        target, angle = np.hypot(points[0], points[1]), np.arctan2(points[1], points[0])
        table = self._forward_table(contraction)
        inverse = _inverted(table)
        radius = _look_up(table, target, angle)
        for _ in range(MOST_ITERATIONS):
            here = _look_up(inverse, radius, angle)
            slope = (_look_up(inverse, radius + 0.05, angle) - here) / 0.05
            if np.abs(target - here).max(initial=0.0) < TOLERANCE_MM:
                break
            radius = np.maximum(radius + (target - here) / np.maximum(slope, 0.1), 0)
        angle = angle + contraction * self._turn(radius)
        return np.stack([radius * np.cos(angle), radius * np.sin(angle)])

    def _turn(self, radius: Array) -> Array:
        rim = float(self.slice.epi.mean())
        fade = np.clip((radius - rim) / (FADE_MM + 0.6 * rim), 0, 1)
        return self.twist * np.square(1 - np.square(fade))

    @cached_property
    def _knots(self) -> tuple[Array, Array]:
        """Squared radii at end-diastole and end-systole where slopes change, each (K, ANGLES)."""
        s = self.slice
        endo = np.maximum(s.endo, np.minimum(SMALLEST_MM, 0.5 * s.epi))
        epi = np.maximum(s.epi, endo + 2.0)
        rv = np.maximum(s.rv, epi + 1.0)
        wall = rv + RV_WALL_MM
        out = wall + FADE_MM
        before = np.square(np.stack([0 * endo, endo, epi, rv, wall, out, 1.15 * out]))
        ratios = np.stack([s.cavity, s.muscle, np.full(ANGLES, s.rv_cavity), np.full(ANGLES, 1.15)])
        after = np.concatenate([0 * before[:1], np.cumsum(ratios * np.diff(before, axis=0)[:4], axis=0)])
        return before, np.concatenate([after, before[5:]])

    @cached_property
    def _end_systole(self) -> tuple[Array, Array]:
        """Squared radii of samples of a ray at end-diastole (M,) and at end-systole (ANGLES, M)."""
        before, after = self._knots
        square = np.square(np.arange(0.0, np.sqrt(before[-1].max()) + 2 * STEP_MM, STEP_MM))
        return square, _monotone(before, after, square, float(self.slice.cavity.mean()))

    def _forward_table(self, contraction: float) -> Array:
        """Radius in the frame, (ANGLES, samples along the end-diastolic ray)."""
        before, after = self._end_systole
        return np.sqrt((1 - contraction) * before + contraction * after)


def _inverted(table: Array) -> Array:
    """Table of the inverse function of each ray."""
    radius = STEP_MM * np.arange(table.shape[1])
    offset = 1e4 * np.arange(ANGLES)[:, None]  # one search for all rays
    found = np.interp((radius + offset).ravel(), (table + offset).ravel(), np.tile(radius, ANGLES))
    return found.reshape(table.shape)


def _look_up(table: Array, radius: Array, angle: Array) -> Array:
    """Linear interpolation in a table (ANGLES, radii), periodic in the angle; the identity beyond its end."""
    column = radius / STEP_MM
    row = np.mod(angle * (ANGLES / (2 * np.pi)), ANGLES)
    padded = np.concatenate([table, table[:1]])
    found = ndimage.map_coordinates(padded, np.stack([row, column]), order=1, mode="nearest")
    return np.where(column < table.shape[1] - 1, found, radius)


def _monotone(x: Array, y: Array, at: Array, first_slope: float) -> Array:
    """Monotone cubic interpolation (Fritsch and Butland 1984) for many rays at once.

    Args:
        x: (K, N) increasing knots.
        y: (K, N) increasing values.
        at: (M,) abscissae, shared by all rays; beyond the last knot the identity.
        first_slope: at the first knot, the same for all rays so that the map is smooth at the centre.

    Returns:
        (N, M).
    """
    step, secant = np.diff(x, axis=0), np.diff(y, axis=0) / np.diff(x, axis=0)
    first, second = 2 * step[1:] + step[:-1], step[1:] + 2 * step[:-1]
    inner = (first + second) / (first / secant[:-1] + second / secant[1:])
    start = np.minimum(first_slope, 2.9 * secant[:1])
    slope = np.concatenate([start, inner, np.ones_like(start)])
    out = np.broadcast_to(at, (x.shape[1], len(at))).astype(np.float64)
    for k in range(len(step)):
        t = (at[None] - x[k][:, None]) / step[k][:, None]
        h, d = step[k][:, None], slope[k : k + 2, :, None]
        a, b = y[k][:, None], y[k + 1][:, None]
        value = (
            (1 + 2 * t) * (1 - t) ** 2 * a
            + t**2 * (3 - 2 * t) * b
            + h * (t * (1 - t) ** 2 * d[0] - t**2 * (1 - t) * d[1])
        )
        out = np.where((t >= 0) & (t < 1), value, out)
    return out


def contraction_curve(frames: int, end_systole: int) -> NDArray[np.float64]:
    """Contraction of every frame, starting at end-diastole: ejection, early filling, rest, atrial kick.

    Args:
        frames: in one beat.
        end_systole: frame of full contraction.
    """
    time = np.arange(frames, dtype=np.float64)
    rise = np.square(np.sin(np.pi / 2 * np.minimum(time / end_systole, 1)))
    late = np.clip((time - end_systole) / max(frames - end_systole, 1), 0, 1)
    early = _smooth_step(late / 0.5)
    kick = _smooth_step((late - 0.7) / 0.3)
    return np.where(time <= end_systole, rise, 1 - 0.78 * early - 0.22 * kick)


def _smooth_step(t: Array) -> Array:
    t = np.clip(t, 0, 1)
    return t * t * (3 - 2 * t)
