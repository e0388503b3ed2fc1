"""A heart at end-diastole and what it does until end-systole: contours of slices, from clinical numbers.

All contours are star-shaped about the centre of the left ventricle: radius as a function of the angle.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

ANGLES = 96  # samples of a contour
RV_WALL_MM = 3.0
THETA: Array = 2 * np.pi * np.arange(ANGLES) / ANGLES


@dataclass(frozen=True)
class Group:
    """Ranges of a diagnostic group, drawn uniformly; ours, after the definitions of ACDC (Bernard 2018).

    Attributes:
        lv_edv_ml: left-ventricular end-diastolic volume.
        lv_ef: ejection fraction.
        wall_mm: mean wall thickness.
        septum: extra thickness of the septum, fraction.
        rv_edv_ml: right-ventricular end-diastolic volume.
        rv_ef: ejection fraction.
        infarct: fraction of the contraction that is lost in a scar.
    """

    lv_edv_ml: tuple[float, float]
    lv_ef: tuple[float, float]
    wall_mm: tuple[float, float]
    septum: tuple[float, float]
    rv_edv_ml: tuple[float, float]
    rv_ef: tuple[float, float]
    infarct: tuple[float, float] = (0.0, 0.0)


GROUPS = {
    "NOR": Group((110, 170), (0.55, 0.68), (7.5, 9.5), (0.0, 0.1), (115, 175), (0.45, 0.55)),
    "MINF": Group((140, 205), (0.25, 0.44), (7.0, 8.5), (0.0, 0.1), (110, 165), (0.40, 0.52), (0.75, 1.0)),
    "DCM": Group((175, 220), (0.15, 0.35), (6.0, 7.5), (0.0, 0.0), (130, 190), (0.28, 0.42)),
    "HCM": Group((95, 145), (0.60, 0.70), (11.5, 14.0), (0.35, 0.7), (95, 140), (0.48, 0.58)),
    "RV": Group((95, 140), (0.50, 0.60), (7.5, 9.0), (0.0, 0.1), (190, 250), (0.20, 0.38)),
}


@dataclass(frozen=True)
class Slice:
    """Contours of one slice at end-diastole and area ratios until end-systole; each (ANGLES,), mm.

    Attributes:
        endo: border of the left-ventricular cavity; 0 where there is none.
        epi: outer border of the left-ventricular wall; 0 beyond the apex.
        rv: free wall of the right ventricle, equal to `epi` where there is no cavity.
        cavity: end-systolic area of a ray's cavity over its end-diastolic one.
        muscle: the same of the wall; more than one, for the muscle shortens along the ventricle's axis.
        rv_cavity: the same of the right ventricle.
        scar: 0 … 1, how much of an infarct lies at an angle.
        level: 0 at the base, 1 at the tip of the left-ventricular cavity.
    """

    endo: Array
    epi: Array
    rv: Array
    cavity: Array
    muscle: Array
    rv_cavity: float
    scar: Array
    level: float

    @property
    def is_empty(self) -> bool:
        """Whether the slice lies beyond the apex."""
        return bool(self.epi.max() <= 0)


@dataclass(frozen=True)
class Heart:
    """A heart on a stack of short-axis slices.

    Attributes:
        group: ACDC's diagnostic group.
        slices: from base to apex.
        rv_angle: direction of the right ventricle, radians (0 = first array axis, π/2 = second).
        twist: rotation at end-systole of each slice about the centre, radians; base and apex turn oppositely.
        between: contours half-way to the neighbouring slices, (before, after), for partial volume.
    """

    group: str
    slices: tuple[Slice, ...]
    rv_angle: float
    twist: tuple[float, ...]
    between: tuple[tuple[Slice, Slice], ...]


@dataclass(frozen=True)
class _Shape:
    """Numbers from which contours at any level are made."""

    lobes: Array
    radius_mm: float
    length_mm: float
    wall: Array
    wall_mm: float
    rv_angle: float
    rv_width: float
    rv_mm: float
    rv_blunt: float
    rv_lean: float
    scar: Array
    scar_centre: float

    def endo(self, z_mm: float) -> Array:
        profile = np.sqrt(max(0.0, 1 - max(z_mm / self.length_mm, 0) ** 2.4))
        radius = self.radius_mm * profile * self.lobes
        return radius if radius.mean() > 2.5 else np.zeros(ANGLES)

    def epi(self, z_mm: float) -> Array:
        length = self.length_mm + 0.8 * self.wall_mm
        profile = np.sqrt(max(0.0, 1 - max(z_mm / length, 0) ** 2.4))
        thinner = 1 - 0.3 * self.scar * self._near_scar(z_mm)
        radius = profile * (self.radius_mm * self.lobes + self.wall * thinner)
        return (
            np.maximum(radius, self.endo(z_mm) + 0.6 * self.wall) if radius.mean() > 4 else np.zeros(ANGLES)
        )

    def rv(self, z_mm: float) -> Array:
        level = z_mm / self.length_mm
        half = self.rv_width * (1 - 0.25 * level)
        offset = np.angle(np.exp(1j * (THETA - self.rv_angle)))
        bump = np.maximum(0.0, 1 - np.abs(offset / half) ** self.rv_blunt) ** 1.3
        # the free wall is fuller on the diaphragm side than towards the outflow tract
        bump *= 1 - self.rv_lean * offset / half
        # seen from the septum it is a triangle more than an arc
        bump *= 1 - 0.10 * np.cos(3 * offset)
        height = self.rv_mm * np.sqrt(max(0.0, 1 - max(level / 0.93, 0) ** 2))
        return self.epi(z_mm) + height * bump

    def _near_scar(self, z_mm: float) -> float:
        return float(np.exp(-np.square((z_mm / self.length_mm - self.scar_centre) / 0.4)))

    def contours(self, z_mm: float, contraction: float, rv_ef: float, lost: float) -> Slice:
        level = z_mm / self.length_mm
        endo, epi = self.endo(z_mm), self.epi(z_mm)
        works = 1 - lost * self.scar * self._near_scar(z_mm)
        cavity = np.clip(1 - contraction * (0.95 + 0.12 * level) * works, 0.1, 1.0)
        shortening = 0.24 * contraction * works
        rv = self.rv(z_mm) if epi.max() > 0 else epi
        scar = self.scar * self._near_scar(z_mm)
        return Slice(endo, epi, rv, cavity, 1 / (1 - shortening), 1 - rv_ef, scar, level)


def area_mm2(radius: Array) -> float:
    """Area inside a star-shaped contour."""
    return float(np.pi * np.mean(np.square(radius)))


def draw_heart(
    group: str, thickness_mm: float, slices: tuple[int, int], generator: np.random.Generator
) -> Heart:
    """Draw a heart of a group.

    The size of the ventricles is solved for, so that the volumes summed over the slices are those drawn.

    Args:
        group: key of `GROUPS`.
        thickness_mm: distance of slices.
        slices: least and most slices of a stack.
        generator: of this subject.
    """
    ranges = GROUPS[group]
    edv, ef, rv_edv, rv_ef, lost = (
        generator.uniform(*r)
        for r in (ranges.lv_edv_ml, ranges.lv_ef, ranges.rv_edv_ml, ranges.rv_ef, ranges.infarct)
    )
    shape = _draw_shape(ranges, edv, generator)
    tip = shape.length_mm + 0.8 * shape.wall_mm
    start = generator.uniform(0.1, 0.5) * thickness_mm
    count = int(np.clip(np.ceil((tip - start) / thickness_mm), *slices))
    levels = [start + k * thickness_mm for k in range(count)]

    def lv_ml(radius: float) -> float:
        trial = _replace(shape, radius_mm=radius)
        return sum(area_mm2(trial.endo(z)) for z in levels) * thickness_mm / 1000

    shape = _replace(shape, radius_mm=_bisect(lv_ml, edv, 5, 60))

    def rv_ml(height: float) -> float:
        trial = _replace(shape, rv_mm=height)
        return sum(area_mm2(trial.rv(z)) - area_mm2(trial.epi(z)) for z in levels) * thickness_mm / 1000

    shape = _replace(shape, rv_mm=_bisect(rv_ml, rv_edv, 5, 90))

    def ejected(contraction: float) -> float:
        made = [shape.contours(z, contraction, rv_ef, lost) for z in levels]
        return 1 - sum(area_mm2(s.endo * np.sqrt(s.cavity)) for s in made) / sum(
            area_mm2(s.endo) for s in made
        )

    contraction = _bisect(ejected, ef, 0.0, 1.2)
    stack = [shape.contours(z, contraction, rv_ef, lost) for z in levels]
    third = thickness_mm / 3
    between = [
        tuple(shape.contours(z + d, contraction, rv_ef, lost) for d in (-third, third)) for z in levels
    ]
    turn = np.deg2rad(generator.uniform(0.7, 1.2) * 12 * contraction)
    twist = tuple(float(turn * (min(s.level, 1) - 0.4)) for s in stack)
    return Heart(group, tuple(stack), shape.rv_angle, twist, tuple((a, b) for a, b in between))


def _draw_shape(ranges: Group, edv_ml: float, generator: np.random.Generator) -> _Shape:
    rv_angle = np.deg2rad(180 + generator.uniform(-25, 12))
    phases = generator.uniform(0, 2 * np.pi, 3)
    sizes = generator.uniform(0.2, 1.0, 3) * (0.05, 0.02, 0.012)
    lobes = 1 + sum(
        a * np.cos((n + 2) * THETA - p) for n, (a, p) in enumerate(zip(sizes, phases, strict=True))
    )
    # a loaded right ventricle flattens the septum
    load = 0.1 * max(0.0, sum(ranges.rv_edv_ml) / sum(ranges.lv_edv_ml) - 1)
    lobes = lobes * (1 - load * _lobe(rv_angle, 1.2))
    wall_mm = generator.uniform(*ranges.wall_mm)
    wall = wall_mm * (1 + generator.uniform(*ranges.septum) * _lobe(rv_angle + 0.3, 1.3))
    wall = wall * (1 + 0.05 * np.cos(THETA - generator.uniform(0, 2 * np.pi)))
    scar = _lobe(generator.uniform(0, 2 * np.pi), generator.uniform(0.8, 1.3))
    if ranges.infarct[1] == 0:
        scar = np.zeros(ANGLES)
    return _Shape(
        lobes=lobes,
        radius_mm=27.0,
        length_mm=(82 + 5 * generator.standard_normal()) * (edv_ml / 145) ** 0.25,
        wall=wall,
        wall_mm=wall_mm,
        rv_angle=float(rv_angle),
        rv_width=np.deg2rad(generator.uniform(82, 98)),
        rv_mm=20.0,
        rv_blunt=generator.uniform(1.8, 2.6),
        rv_lean=generator.uniform(0.1, 0.4),
        scar=scar,
        scar_centre=generator.uniform(0.35, 0.8),
    )


def _lobe(centre: float, half_width: float) -> Array:
    """Smooth bump of height one around an angle."""
    return np.exp(-np.square(np.angle(np.exp(1j * (THETA - centre))) / half_width) * 1.5)


def _replace(shape: _Shape, **changes: float) -> _Shape:
    return _Shape(**{**shape.__dict__, **changes})


def _bisect(function: Callable[[float], float], target: float, low: float, high: float) -> float:
    """Argument at which an increasing function takes a value."""
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if function(middle) < target else (low, middle)
    return (low + high) / 2
