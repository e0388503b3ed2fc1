"""A person on a stack of slices: end-diastolic picture, motion, and the frames that a scanner would make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medreg.data.phantoms.cardiac_anatomy import Detail, Polar, draw_detail, label_slice, paint_heart
from medreg.data.phantoms.cardiac_body import Body, draw_body, paint_body
from medreg.data.phantoms.cardiac_canvas import Array, Canvas
from medreg.data.phantoms.cardiac_heart import GROUPS, Heart, draw_heart
from medreg.data.phantoms.cardiac_motion import Drift, SliceMotion, contraction_curve, draw_drift
from medreg.data.phantoms.cardiac_noise import noise_bank, rician, smooth_plane, window

SCALE = 400  # stored grey value of blood
FINER = 2  # points per voxel and axis of the end-diastolic picture
MARGIN_MM = 16.0  # around the right ventricle, for its wall and the fat


@dataclass(frozen=True)
class Appearance:
    """How frames are degraded; see `CardiacPhantom` for the meaning."""

    noise: float
    bias: float
    coil: float
    drift: float
    texture: float
    gamma: float = 1.0


@dataclass(frozen=True)
class StackGrid:
    """Grid of a person's slices.

    Attributes:
        shape: (X, Y, Z) voxels.
        spacing_mm: (3,).
        centre: position of the centre of the left ventricle, voxels in the plane.
        turn: rotation of the anatomy in the plane, radians.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    centre: tuple[float, float]
    turn: float

    @property
    def affine(self) -> NDArray[np.float64]:
        """Voxel → RAS mm, array axes to the left, the back and the head as in ACDC (axis codes LPS)."""
        affine = np.diag([-self.spacing_mm[0], -self.spacing_mm[1], self.spacing_mm[2], 1.0])
        affine[:3, 3] = [-affine[k, k] * (n - 1) / 2 for k, n in enumerate(self.shape)]
        return affine

    def to_mm(self, indices: NDArray[np.floating]) -> NDArray[np.float64]:
        """In-plane voxel positions (2, …) → mm about the left ventricle, in the frame of the anatomy."""
        offset = [(indices[k] - self.centre[k]) * self.spacing_mm[k] for k in range(2)]
        cosine, sine = np.cos(self.turn), np.sin(self.turn)
        return np.stack([cosine * offset[0] + sine * offset[1], cosine * offset[1] - sine * offset[0]])

    def to_voxels(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Inverse of `to_mm`."""
        cosine, sine = np.cos(self.turn), np.sin(self.turn)
        offset = [cosine * points[0] - sine * points[1], cosine * points[1] + sine * points[0]]
        return np.stack([offset[k] / self.spacing_mm[k] + self.centre[k] for k in range(2)])


@dataclass(frozen=True)
class Person:
    """Everything about one subject that does not depend on the frame.

    Attributes:
        heart: contours and contraction.
        detail: inside the contours.
        body: around them.
        stack: grid.
        drifts: irregular motion of each slice.
        contraction: of every frame; 0 at end-diastole, 1 at end-systole.
        end_diastole: frame index.
        end_systole: frame index.
        seed: of textures and noise.
    """

    heart: Heart
    detail: Detail
    body: Body
    stack: StackGrid
    drifts: tuple[Drift, ...]
    contraction: NDArray[np.float64]
    end_diastole: int
    end_systole: int
    seed: tuple[int, ...]

    @cached_property
    def plane(self) -> NDArray[np.float64]:
        """Voxel indices of a slice, (2, X, Y)."""
        return np.indices(self.stack.shape[:2], dtype=np.float64)

    @cached_property
    def points(self) -> NDArray[np.float64]:
        """Position of each voxel of a slice about the left ventricle, (2, X, Y) mm."""
        return self.stack.to_mm(self.plane)

    @cached_property
    def motions(self) -> tuple[SliceMotion, ...]:
        """Motion of each slice."""
        parts = zip(self.heart.slices, self.heart.twist, self.drifts, strict=True)
        return tuple(SliceMotion(*part) for part in parts)

    def within_reach(self, k: int) -> NDArray[np.bool_]:
        """Voxels of slice k that may move, (X, Y)."""
        return np.hypot(self.points[0], self.points[1]) < self.motions[k].reach_mm

    def material(self, k: int, frame: int) -> NDArray[np.float64]:
        """End-diastolic position of the tissue in each voxel of a slice of a frame, (2, X, Y) mm."""
        points, near = self.points.copy(), self.within_reach(k)
        points[:, near] = self.motions[k].inverse(points[:, near], float(self.contraction[frame]))
        return points

    def truth(self, frame: int) -> NDArray[np.float64]:
        """Displacement (3, X, Y, Z), voxels: frame(x + u(x)) shows the tissue of end-diastole(x)."""
        out = np.zeros((3, *self.stack.shape))
        for k in range(self.stack.shape[2]):
            near = self.within_reach(k)
            moved = self.motions[k].forward(self.points[:, near], float(self.contraction[frame]))
            out[:2, near, k] = self.stack.to_voxels(moved) - self.plane[:, near]
        return out

    def labels(self, frame: int) -> NDArray[np.uint8]:
        """Labels of a frame, (X, Y, Z)."""
        planes = [
            label_slice(Polar(*self.material(k, frame)), self.heart.slices[k])
            for k in range(self.stack.shape[2])
        ]
        return np.stack(planes, axis=2)


def draw_person(
    group: str,
    *,
    frames: int,
    slices: tuple[int, int],
    size: tuple[int, int],
    spacing_mm: tuple[float, float],
    thickness_mm: tuple[float, float],
    seed: tuple[int, ...],
) -> Person:
    """Draw a subject; the arguments are those of `CardiacPhantom`."""
    g = np.random.default_rng([*seed, 0])
    if group not in GROUPS:
        raise KeyError(group)
    thickness = float(np.round(g.uniform(*thickness_mm), 1))
    spacing = float(np.round(g.uniform(*spacing_mm), 4))
    heart = draw_heart(group, thickness, slices, g)
    widest = max(heart.slices, key=lambda s: float(s.rv.max()))
    front, floor = float(-_extreme(widest.rv, 0, -1)), float(_extreme(heart.slices[0].epi, 1, 1))
    shape = [2 * int(g.integers(size[0] // 2, size[1] // 2 + 1)) for _ in range(2)]
    turn = np.deg2rad(g.normal(0, 9) + (g.uniform(30, 60) if g.random() < 0.2 else 0))
    # the whole heart, not the left ventricle, is in the middle
    shift = 0.3 * front * np.array([np.cos(turn), np.sin(turn)]) / spacing
    centre = [(n - 1) / 2 + s + g.uniform(-5, 5) / spacing for n, s in zip(shape, shift, strict=True)]
    stack = StackGrid(
        (shape[0], shape[1], len(heart.slices)), (spacing, spacing, thickness), (centre[0], centre[1]), turn
    )
    end_systole = max(1, round(g.uniform(0.33, 0.42) * frames))
    start = int(g.integers(1, max(frames // 4, 1) + 1)) if g.random() < 0.05 else 0
    reach = max(front, 65.0) + 15
    return Person(
        heart=heart,
        detail=draw_detail(heart.rv_angle, g),
        body=draw_body(front, floor, g),
        stack=stack,
        drifts=_drifts(len(heart.slices), reach, g),
        contraction=np.roll(contraction_curve(frames, end_systole), start),
        end_diastole=start,
        end_systole=(start + end_systole) % frames,
        seed=seed,
    )


def _extreme(radius: NDArray[np.float64], axis: int, sign: int) -> float:
    angle = 2 * np.pi * np.arange(len(radius)) / len(radius)
    along = radius * (np.cos(angle) if axis == 0 else np.sin(angle))
    return float(sign * (sign * along).max())


def _drifts(count: int, reach_mm: float, g: np.random.Generator) -> tuple[Drift, ...]:
    """One drift for the heart; slices differ a little, as breath-holds do."""
    first = draw_drift(reach_mm, g)
    shifts = first.shift + g.normal(0, 0.3, (count, 2))
    return tuple(
        Drift(s, first.amplitude, first.wave, first.phase + 0.4 * k, reach_mm) for k, s in enumerate(shifts)
    )


@dataclass(frozen=True)
class FineSlice:
    """A slice at end-diastole on a grid `FINER` times the voxels.

    Attributes:
        signal: (contrasts, X', Y').
        blood: (X', Y') share of blood.
        skin: (X', Y') distance to the skin, mm, negative inside.
    """

    signal: Array
    blood: Array
    skin: Array


def picture(person: Person, k: int, contrasts: Sequence[str]) -> FineSlice:
    """Paint slice k at end-diastole, averaged over the thickness of the slice."""
    stack = person.stack
    count = [FINER * n for n in stack.shape[:2]]
    lines = [(np.arange(n) + 0.5) / FINER - 0.5 for n in count]
    points = stack.to_mm(np.stack(np.meshgrid(*lines, indexing="ij"))).astype(np.float32)
    axes = [line * s for line, s in zip(lines, stack.spacing_mm, strict=False)]
    canvas = Canvas((count[0], count[1]), contrasts)
    level = person.heart.slices[k].level
    skin = paint_body(canvas, (points[0], points[1]), person.body, level=level, axes=axes)
    box = _box(points, float(person.heart.slices[k].rv.max()) + MARGIN_MM)
    polar = Polar(points[0][box], points[1][box])
    grain = smooth_plane(axes, 5.0, np.random.default_rng([*person.seed, 1, k]))[box]
    before, after = person.heart.between[k]
    beneath, total, blood = (
        canvas.layers.copy(),
        np.zeros_like(canvas.layers),
        np.zeros(count, dtype=np.float32),
    )
    for s, weight in ((before, 0.3), (person.heart.slices[k], 0.4), (after, 0.3)):
        canvas.layers = beneath.copy()
        share = paint_heart(
            canvas, polar, s, person.detail, grain=grain, width=stack.spacing_mm[0], where=box
        )
        blood[box] += np.float32(weight) * share
        total += np.float32(weight) * canvas.layers
    canvas.layers = total
    signal = ndimage.gaussian_filter(canvas.signal(), (0, 0.35 * FINER, 0.35 * FINER))
    return FineSlice(signal, blood, skin)


def _box(points: Array, reach_mm: float) -> tuple[slice, slice]:
    near = np.abs(points).max(0) < max(reach_mm, 2 * MARGIN_MM)
    rows, columns = np.flatnonzero(near.any(1)), np.flatnonzero(near.any(0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


@dataclass(frozen=True)
class Cine:
    """Images of one subject.

    Attributes:
        frames: (contrasts, X, Y, Z, T) int16.
        body: (X, Y, Z) bool, inside the skin at end-diastole.
    """

    frames: NDArray[np.int16]
    body: NDArray[np.bool_]


def acquire(person: Person, contrasts: Sequence[str], appearance: Appearance) -> Cine:
    """Image all slices and frames.

    A frame shows the end-diastolic picture moved by φ; blood is textured anew in every frame, brightness
    drifts, coils shade, noise is Rician.
    """
    g = np.random.default_rng([*person.seed, 2])
    stack, count = person.stack, len(person.contraction)
    out = np.empty((len(contrasts), *stack.shape, count), dtype=np.int16)
    body = np.empty(stack.shape, dtype=bool)
    bank = noise_bank(384, 1.6, g)
    shading = _shading(person, appearance, g)
    drift = 1 + appearance.drift * g.standard_normal(count).astype(np.float32)
    for k in range(stack.shape[2]):
        made = picture(person, k, contrasts)
        layers = np.concatenate([made.signal, made.blood[None]])
        body[:, :, k] = _sample(made.skin, person.plane) < 0
        for t in range(count):
            where = stack.to_voxels(person.material(k, t))
            *clean, blood = (_sample(layer, where) for layer in layers)
            flow = 1 + np.float32(appearance.texture) * blood * window(bank, blood.shape, g)
            signal = _contrast(np.stack(clean), appearance.gamma) * flow * shading * drift[t]
            out[:, :, :, k, t] = np.rint(SCALE * rician(signal, appearance.noise, g))
    return Cine(out, body)


def _contrast(signal: Array, gamma: float) -> Array:
    """Signal of tissues on another scanner; that of blood, which is 1, stays."""
    return signal if gamma == 1 else signal ** np.float32(gamma)


def _sample(layer: Array, where: NDArray[np.float64]) -> Array:
    """Linear interpolation of the fine picture at voxel positions."""
    fine = (where + 0.5) * FINER - 0.5
    return ndimage.map_coordinates(layer, fine, order=1, mode="nearest", output=np.float32)


def _shading(person: Person, appearance: Appearance, g: np.random.Generator) -> Array:
    """Sensitivity of coils at the front and the back, and a smooth bias; 1 at the heart."""
    points = person.stack.to_mm(person.plane)
    reach = 75.0
    front = np.hypot(points[0] + person.body.front + 35, points[1] + g.uniform(-40, 40))
    back = np.hypot(points[0] - person.body.depth + person.body.front - 35, points[1] - 20)
    at_heart = reach / (reach + person.body.front + 35) + 0.6 * reach / (
        reach + person.body.depth - person.body.front + 35
    )
    sensitivity = (reach / (reach + front) + 0.6 * reach / (reach + back)) / at_heart
    axes = [np.arange(n) * s for n, s in zip(person.stack.shape[:2], person.stack.spacing_mm, strict=False)]
    bias = np.exp(appearance.bias * smooth_plane(axes, 160.0, g))
    return (sensitivity ** (2.5 * appearance.coil) * bias).astype(np.float32)
