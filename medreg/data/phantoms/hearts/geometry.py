"""Surfaces of a heart in its own coordinates: along the axis, around it, and away from it.

u = 0 at the tip of the left cavity and 1 at the base; the angle is 0 toward the right ventricle. On every ray from the
axis the cavity ends at a radius, the muscle at another, and the right ventricle is where a quadratic in the radius is
negative. Of all three, what is smooth is kept: squared radii with their sign, and the coefficients of the quadratic.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medreg.errors import ConfigError

Array = NDArray[np.float64]

THINNEST = 0.45  # part of the mean thickness that no mode takes away
DENSITY = 1.05  # g/mL of muscle
LEVELS, ANGLES = 97, 72  # nodes of the surfaces along and around the axis
BELOW = -0.2  # lowest level: the muscle reaches below the cavity
SHORTENING = 0.15  # of the axis at end-systole
TOLERANCE_MM3 = 1.0
TIP = 0.6  # thickness of the muscle at the tip, of that at the side
U: Array = np.linspace(BELOW, 1, LEVELS)[:, np.newaxis]
THETA: Array = (2 * np.pi * np.arange(ANGLES) / ANGLES)[np.newaxis, :]


@dataclass(frozen=True)
class Shape:
    """What makes one heart's form differ from another's of the same volumes; factors are (LEVELS, ANGLES).

    Attributes:
        widest: level of the largest section.
        section: factor of the radius of both surfaces of the left ventricle.
        lining: factor of the cavity's radius alone.
        wall: factor of the thickness of the muscle.
        free_wall: factor of the radial half axis of the right ventricle.
        rv_centre: distance of its centre from the axis, in outer radii of the left ventricle.
        rv_width: tangential half axis in the same unit, where the radial one is 1.
        rv_growth: the tangential half axis goes with this power of the radial one.
        rv_length: half axis along the axis, in lengths of the cavity.
        shortening: of the axis at end-systole.
        turn: radians by which the tip is turned against the base at end-diastole.
        wring: the further turn at end-systole.
        bend_mm: (2,) shift of the middle of the axis against its ends.
        tilt: (2,) slope of sections, and of the base, against the axis.
    """

    widest: float
    section: Array
    lining: Array
    wall: Array
    free_wall: Array
    rv_centre: float
    rv_width: float
    rv_growth: float
    rv_length: float
    shortening: float
    turn: float
    wring: float
    bend_mm: tuple[float, float]
    tilt: tuple[float, float]


def plain_shape() -> Shape:
    """Return the form without any further modes: ellipsoids of revolution and a crescent."""
    one = np.ones((LEVELS, ANGLES))
    return Shape(0.7, one, one, one, one, 0.75, 1.35, 0.0, 0.95, SHORTENING, 0.0, 0.0, (0.0, 0.0), (0.0, 0.0))


@dataclass(frozen=True)
class Surfaces:
    """The surfaces of a heart in T frames.

    Attributes:
        table: (T, LEVELS, ANGLES, 5): squared radii of cavity and muscle in mm², then a, b, c of the right
            ventricle: a r² − 2 b r + c < 0.
        length_mm: (T,) of the cavity.
        contraction: (T,).
        wall_mm: (T,) mean thickness of the muscle.
        outer_mm: (T,) outer radius of the left ventricle.
    """

    table: Array
    length_mm: Array
    contraction: Array
    wall_mm: Array
    outer_mm: Array


def surfaces(
    shape: Shape, lv_ml: Array, rv_ml: Array, mass_g: float, length_mm: float, contraction: Array
) -> Surfaces:
    """Return the surfaces whose volumes are those asked for.

    Args:
        shape: form of the heart.
        lv_ml: (T,) of the left cavity.
        rv_ml: (T,) of the right ventricle.
        mass_g: of the left ventricle's muscle, which keeps its volume.
        length_mm: of the cavity at end-diastole.
        contraction: (T,).
    """
    length = length_mm * (1 - shape.shortening * contraction)
    cavity = shape.section * shape.lining * np.ones((len(length), 1, 1))
    cavity2 = cavity**2 * _ellipsoid(U, shape.widest)
    radius = np.sqrt(1000 * np.asarray(lv_ml) / _volume(cavity2, length))
    cavity2 = cavity2 * _deep(radius) ** 2

    def muscle2(wall: Array) -> Array:
        return _muscle(shape, cavity2, radius, wall, length)

    volume = 1000 * mass_g / DENSITY + 1000 * np.asarray(lv_ml)
    wall = _solve(lambda w: _volume(muscle2(w), length) - volume, 0.5, 40.0, len(length), "wall")
    outer2 = muscle2(wall)
    outer = radius + wall

    def ventricle(width: Array) -> Array:
        return _ventricle(shape, outer, width)

    kappa = _solve(
        lambda k: _crescent(ventricle(k), outer2, length) - 1000 * np.asarray(rv_ml),
        0.2,
        3.0,
        len(length),
        "RV",
    )
    table = np.concatenate([cavity2[..., np.newaxis], outer2[..., np.newaxis], ventricle(kappa)], axis=-1)
    return Surfaces(table, length, np.asarray(contraction, dtype=np.float64), wall, outer)


def volumes_ml(made: Surfaces) -> tuple[Array, Array, Array]:
    """Return the volumes of left cavity, muscle and right ventricle, each (T,) in mL."""
    cavity = _volume(made.table[..., 0], made.length_mm)
    outer = _volume(made.table[..., 1], made.length_mm)
    right = _crescent(made.table[..., 2:], made.table[..., 1], made.length_mm)
    return cavity / 1000, (outer - cavity) / 1000, right / 1000


def ventricle_radii(table: Array) -> tuple[Array, Array]:
    """Return where rays enter and leave the right ventricle, 0 and 0 where they miss it.

    Args:
        table: (..., 5) as in `Surfaces`.
    """
    a, b, c = table[..., 2], table[..., 3], table[..., 4]
    root = np.sqrt(np.maximum(b**2 - a * c, 0))
    outer = np.sqrt(np.maximum(table[..., 1], 0))
    leave = (b + root) / a
    enter = np.maximum((b - root) / a, outer)
    met = (b**2 > a * c) & (leave > enter)
    return np.where(met, enter, 0.0), np.where(met, leave, 0.0)


def _ellipsoid(u: Array, centre: float) -> Array:
    return np.asarray(1 - ((u - centre) / centre) ** 2)


def _muscle(shape: Shape, cavity2: Array, radius: Array, wall: Array, length: Array) -> Array:
    reach = shape.widest + TIP * _deep(wall / length)  # half axis of the outer ellipsoid, in lengths
    profile2 = 1 - ((U - shape.widest) / reach) ** 2
    side = (_deep(radius) + _deep(wall) * shape.wall) * shape.section
    free = side**2 * profile2
    inner = np.sqrt(np.maximum(cavity2, 0))
    least = np.where(cavity2 > 0, (inner + THINNEST * _deep(wall)) ** 2, free)
    return np.maximum(free, least)


def _ventricle(shape: Shape, outer: Array, width: Array) -> Array:
    """Return a, b, c of a r² − 2 b r + c, (T, LEVELS, ANGLES, 3)."""
    radial = _deep(width * outer) * shape.free_wall
    tangential = _deep(shape.rv_width * outer * width**shape.rv_growth)
    centre = _deep(shape.rv_centre * outer)
    section2 = 1 - ((U - 1) / shape.rv_length) ** 2
    a = (np.cos(THETA) / radial) ** 2 + (np.sin(THETA) / tangential) ** 2
    b = centre * np.cos(THETA) / radial**2
    c = (centre / radial) ** 2 - section2
    return np.stack(np.broadcast_arrays(a, b, c), axis=-1)


def _volume(square: Array, length: Array) -> Array:
    """Return ½ ∫∫ r² dθ du in mm³, (T,)."""
    section = np.pi * np.maximum(square, 0).mean(axis=-1)
    return np.asarray(np.trapezoid(section, dx=(1 - BELOW) / (LEVELS - 1), axis=-1) * length)


def _crescent(coefficients: Array, outer2: Array, length: Array) -> Array:
    table = np.concatenate(
        [np.zeros_like(outer2)[..., np.newaxis], outer2[..., np.newaxis], coefficients], -1
    )
    enter, leave = ventricle_radii(table)
    return _volume(leave**2 - enter**2, length)


def _solve(f: Callable[[Array], Array], low: float, high: float, count: int, what: str) -> Array:
    """Return the zero of a rising function for each of T frames, by false position with halved ends (Illinois)."""
    a, b = np.full(count, low), np.full(count, high)
    fa, fb = f(a), f(b)
    if (fa > 0).any() or (fb < 0).any():
        raise ConfigError(
            f"A heart of the population cannot have the volume it was given ({what}); lower "
            "data.dataset.prepare.effect_scale, or take another seed."
        )
    x, side = a, np.zeros(count)
    for _ in range(60):
        x = (a * fb - b * fa) / (fb - fa)
        fx = f(x)
        if np.all(np.abs(fx) < TOLERANCE_MM3):
            break
        now = np.sign(fx)
        repeated = now == side  # the same end has stayed twice: its value is halved, so that it moves too
        fa, fb = np.where(repeated & (now > 0), fa / 2, fa), np.where(repeated & (now < 0), fb / 2, fb)
        a, fa = np.where(now < 0, x, a), np.where(now < 0, fx, fa)
        b, fb = np.where(now > 0, x, b), np.where(now > 0, fx, fb)
        side = now
    return x


def _deep(per_frame: Array | float) -> Array:
    return np.asarray(per_frame)[..., np.newaxis, np.newaxis]
