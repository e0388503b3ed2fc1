"""Label maps of a heart on a grid: which structure lies in most of a voxel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medreg.data.phantoms.hearts.geometry import (
    ANGLES,
    BELOW,
    LEVELS,
    THETA,
    Shape,
    Surfaces,
    U,
    ventricle_radii,
)
from medreg.errors import ConfigError

Array = NDArray[np.float64]

LV, MYO, RV = 1, 2, 4  # codes in the files, as the released code has them
CODES = np.array([0, LV, MYO, RV], dtype=np.uint8)
ASIDE_MM = 12.0  # of the axis from the middle of the grid, away from the right ventricle
EVEN_MM = 2.0
MARGIN_MM = 5.0  # between a heart and the border of the grid
# Eight points in a voxel, half a voxel apart, and its middle, which decides between two halves.
POINTS: Array = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)] + [[0, 0, 0]]) / 4
# A sample of class k counts 16^k: four counters in 16 bits. A table says which is the largest.
_COUNTERS = (np.arange(1 << 16)[:, np.newaxis] >> np.array([0, 4, 8, 12])) & 15
_WINNER = np.argmax(_COUNTERS, axis=1).astype(np.uint8)


@dataclass(frozen=True)
class HeartGrid:
    """Voxels and frames of label maps, the long axis last.

    Attributes:
        size: (X, Y, Z) voxels.
        spacing_mm: (X, Y, Z).
        frames: of the cycle.
    """

    size: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    frames: int

    @property
    def affine(self) -> Array:
        """(4, 4) voxel → mm; the middle of the grid is the origin."""
        spacing = np.array(self.spacing_mm)
        out = np.diag([*spacing, 1.0])
        out[:3, 3] = -spacing * (np.array(self.size) - 1) / 2
        return out


@dataclass(frozen=True)
class Pose:
    """Where a heart lies.

    Attributes:
        septum: direction from the axis to the right ventricle, radians in the plane of the first two axes.
        shift_mm: (2,) of the heart in that plane.
    """

    septum: float
    shift_mm: tuple[float, float]


def place(effects: Array | None) -> Pose:
    """Return the pose of a subject: 225° ± 15° toward low X and low Y, shifted by 4 mm (SD) in the plane.

    Args:
        effects: (3,) standard normal; None for the mean pose.
    """
    turn, x, y = (0.0, 0.0, 0.0) if effects is None else (float(e) for e in effects)
    return Pose(np.deg2rad(225 + 15 * turn), (4 * x, 4 * y))


def render(made: Surfaces, shape: Shape, pose: Pose, grid: HeartGrid) -> NDArray[np.uint8]:
    """Return the label maps of all frames of the surfaces, (X, Y, Z, T) with the codes of `CODES`.

    Raises:
        ConfigError: the heart does not fit into the grid.
    """
    samples = Samples(made, shape, pose, grid)
    out = np.zeros((*grid.size, len(made.length_mm)), dtype=np.uint8)
    for frame in range(len(made.length_mm)):
        out[..., frame][samples.box] = CODES[samples.labels(frame)]
    if samples.beyond and any(out.take(end, axis).any() for axis in range(3) for end in (0, -1)):
        raise ConfigError(
            f"A heart of the population reaches beyond the grid of {list(grid.size)} voxels of "
            f"{list(grid.spacing_mm)} mm; raise data.dataset.prepare.grid.size or spacing_mm."
        )
    return out


class Samples:
    """The points of a grid in the coordinates of a heart, only where the heart can be.

    Attributes:
        beyond: whether the heart, or what bounds it, leaves the field of the grid.
    """

    def __init__(self, made: Surfaces, shape: Shape, pose: Pose, grid: HeartGrid) -> None:
        self.made, self.shape = made, shape
        low, high = extent_mm(made, shape, pose)
        spacing, size = np.array(grid.spacing_mm), np.array(grid.size)
        origin = axis_mm(low, high, pose, spacing * size, float(made.length_mm[0]))
        half = spacing * size / 2
        self.beyond = bool((origin + low < -half).any() or (origin + high > half).any())
        first = np.floor((origin + low) / spacing + (size - 1) / 2).astype(int)
        last = np.ceil((origin + high) / spacing + (size - 1) / 2).astype(int)
        first, last = np.maximum(first, 0), np.minimum(last, size - 1)  # the extent is a bound, not the heart
        x, y, z = (slice(int(a), int(b) + 1) for a, b in zip(first, last, strict=True))
        self.box = (x, y, z)
        points = [
            ((np.arange(a, b + 1) - (n - 1) / 2)[:, np.newaxis] + POINTS[:, k]) * s - o
            for k, (a, b, n, s, o) in enumerate(zip(first, last, size, spacing, origin, strict=True))
        ]
        self._to_heart(points, pose)

    def _to_heart(self, points: list[Array], pose: Pose) -> None:
        """Keep height in mm, angle and squared radius of all samples, each (X, Y, Z, 9) float32."""
        x, y, z = (p.astype(np.float32) for p in points)
        x, y, z = x[:, None, None, :], y[None, :, None, :], z[None, None, :, :]
        height = z - np.float32(self.shape.tilt[0]) * x - np.float32(self.shape.tilt[1]) * y
        bow = 1 - (2 * height / np.float32(self.made.length_mm[0]) - 1) ** 2
        x = x - np.float32(self.shape.bend_mm[0]) * bow
        y = y - np.float32(self.shape.bend_mm[1]) * bow
        full = np.broadcast_shapes(height.shape, x.shape, y.shape)
        self.height = np.broadcast_to(height, full).reshape(-1, len(POINTS))
        angle = np.arctan2(y, x) - np.float32(pose.septum)
        self.angle = np.broadcast_to(angle * np.float32(ANGLES / (2 * np.pi)), full).reshape(-1, len(POINTS))
        self.square = np.broadcast_to(x**2 + y**2, full).reshape(-1, len(POINTS))
        self.shape3 = full[:3]

    def labels(self, frame: int) -> NDArray[np.uint8]:
        """Return the place of the structure (0 … 3) in most of each voxel of the box."""
        table = self.made.table[frame]
        closed = np.concatenate([table, table[:, :1]], axis=1).astype(np.float32).reshape(-1, table.shape[-1])
        centres = (slice(None), len(POINTS) - 1)
        middle = self._classify(closed, frame, centres).reshape(self.shape3)
        mixed = ndimage.maximum_filter(middle, 3) != ndimage.minimum_filter(middle, 3)
        chosen = np.flatnonzero(mixed)
        found = self._classify(closed, frame, (chosen, slice(None)))
        counts = np.left_shift(1, 4 * found.astype(np.int32)).sum(axis=1)
        middle.reshape(-1)[chosen] = _WINNER[counts]
        return middle

    def _classify(self, closed: NDArray[np.float32], frame: int, where: tuple[Any, Any]) -> NDArray[np.uint8]:
        height, angle, square = self.height[where], self.angle[where], self.square[where]
        level = height / np.float32(self.made.length_mm[frame])
        twist = self.shape.turn + self.shape.wring * self.made.contraction[frame]
        if twist:
            angle = angle - np.float32(twist * ANGLES / (2 * np.pi)) * (1 - np.clip(level, 0, 1))
        inside = (level <= 1) & (level > BELOW)
        found = np.zeros(level.shape, dtype=np.uint8)
        at = np.nonzero(inside)
        found[at] = _structures(closed, level[at], angle[at], square[at])
        return found


def _structures(
    closed: NDArray[np.float32],
    level: NDArray[np.float32],
    angle: NDArray[np.float32],
    square: NDArray[np.float32],
) -> NDArray[np.uint8]:
    """Return 1, 2, 3 or 0 for points (M,): cavity, muscle, right ventricle or nothing."""
    u = (level - np.float32(BELOW)) * np.float32((LEVELS - 1) / (1 - BELOW))
    v = np.mod(angle, np.float32(ANGLES))
    i = np.minimum(u.astype(np.int32), LEVELS - 2)
    j = np.minimum(v.astype(np.int32), ANGLES - 1)
    u, v = (u - i)[:, np.newaxis], (v - j)[:, np.newaxis]
    at = i * (ANGLES + 1) + j
    below = (1 - v) * closed[at] + v * closed[at + 1]
    above = (1 - v) * closed[at + ANGLES + 1] + v * closed[at + ANGLES + 2]
    here = (1 - u) * below + u * above
    right = here[:, 2] * square - 2 * here[:, 3] * np.sqrt(square) + here[:, 4] < 0
    out = np.where(right, np.uint8(3), np.uint8(0))
    out[square < here[:, 1]] = 2
    out[square < here[:, 0]] = 1
    return out


def extent_mm(made: Surfaces, shape: Shape, pose: Pose) -> tuple[Array, Array]:
    """Return the lowest and highest point of a heart over all frames, from the tip of its cavity, each (3,)."""
    _, leave = ventricle_radii(made.table)
    radius = np.maximum(np.sqrt(np.maximum(made.table[..., 1], 0)), leave)
    level = U * np.ones_like(THETA)
    twist = shape.turn + shape.wring * made.contraction[:, np.newaxis, np.newaxis]
    angle = THETA + pose.septum + twist * (1 - np.clip(level, 0, 1))
    height = level * made.length_mm[:, np.newaxis, np.newaxis]
    bow = 1 - (2 * height / made.length_mm[0] - 1) ** 2
    x = radius * np.cos(angle) + shape.bend_mm[0] * bow
    y = radius * np.sin(angle) + shape.bend_mm[1] * bow
    z = height + shape.tilt[0] * x + shape.tilt[1] * y
    there = radius > 0
    points = np.stack([x[there], y[there], z[there]])
    return points.min(axis=1), points.max(axis=1)


def axis_mm(low: Array, high: Array, pose: Pose, field_mm: Array, length_mm: float) -> Array:
    """Return where the tip of the cavity lies, from the middle of the grid, (3,) mm.

    The axis stands aside of the middle, so that both ventricles fit; a heart that would come nearer to the border than
    `MARGIN_MM` is moved inward. Along the axis the heart is centred, to the next even millimetre of its base, so that
    the base is no voxel's middle on a grid of 2 mm.
    """
    away = -ASIDE_MM * np.array([np.cos(pose.septum), np.sin(pose.septum)]) + np.array(pose.shift_mm)
    base = EVEN_MM * np.round((length_mm - (low[2] + high[2]) / 2) / EVEN_MM)
    room = field_mm / 2 - MARGIN_MM
    least, most = (-room - low)[:2], (room - high)[:2]
    inward = np.where(least <= most, np.clip(away, np.minimum(least, most), most), (least + most) / 2)
    return np.array([*inward, base - length_mm])
