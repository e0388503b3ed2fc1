"""Three planes of a heart: the short axis, the long axis through both ventricles, and the one across it.

Planes are chosen from the heart itself, since the right ventricle lies obliquely to the axes of the array. Between
voxels the share of each structure is a cubic B-spline and the largest wins, so that coarse voxels have smooth outlines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from medreg.reporting.heart_style import STRUCTURE_COLOURS, STRUCTURES, rgb
from medreg.reporting.views import Array

VIEWS = ("short axis", "long axis, both ventricles", "long axis, across")
SEEN = (
    (0, 1),
    (0, 2),
    (1, 2),
)  # of each view: which direction of the heart lies along columns, and along rows
NO_RIGHT = np.array([-1.0, -1.0]) / np.sqrt(2.0)  # where the right ventricle is expected where there is none
MARGIN_MM = 3.0  # around the heart
FINE = 2  # pixels between two points of the spline; it is linear between them, which saves most of the time
LEVEL = 0.55  # of the length of the left ventricle from its apex, where the short axis is cut


@dataclass(frozen=True)
class HeartPlanes:
    """Where a heart is cut.

    Its own directions are: from the left to the right ventricle, across, and up from apex to base.

    Attributes:
        centre_mm: (3,) of the left ventricle, from the first voxel; z is the level of the short axis.
        towards: (2,) unit vector in x and y from the left to the right ventricle.
        below_mm: (3,) how far a picture reaches from the centre against the three directions.
        above_mm: (3,) and along them.
        spacing_mm: (3,) of the voxels.
        pixel_mm: side of a pixel.
    """

    centre_mm: Array
    towards: Array
    below_mm: Array
    above_mm: Array
    spacing_mm: Array
    pixel_mm: float

    @classmethod
    def of(cls, shape: Array, spacing_mm: Sequence[float] | Array, *, pixel_mm: float = 0.5) -> HeartPlanes:
        """Choose planes by the first frame, and as much room as all frames need.

        Args:
            shape: (T, X, Y, Z) places of the structures.
            spacing_mm: of the voxels.
            pixel_mm: side of a pixel of the pictures.

        Raises:
            ValueError: no sequence of volumes.
        """
        if shape.ndim != 4:
            raise ValueError(f"a heart over the cycle is (T, X, Y, Z), not {shape.shape}")
        spacing = np.ravel(np.asarray(spacing_mm, dtype=float))[:3]
        heart = _points_of(shape, spacing)
        left = np.argwhere(shape[0] == 1) * spacing
        left = left if len(left) else heart
        right = np.argwhere(shape[0] == 3) * spacing
        centre = left.mean(axis=0)
        centre[2] = left[:, 2].min() + LEVEL * np.ptp(left[:, 2])
        towards = right.mean(axis=0)[:2] - centre[:2] if len(right) else NO_RIGHT
        length = float(np.linalg.norm(towards))
        towards = towards / length if length > 0 else NO_RIGHT
        return cls(centre, towards, np.zeros(3), np.zeros(3), spacing, pixel_mm).around(shape)

    def around(self, shape: Array) -> HeartPlanes:
        """The same planes with the room that all frames of a heart (T, X, Y, Z) need."""
        own = (_points_of(shape, self.spacing_mm) - self.centre_mm) @ _directions(self.towards).T
        margin = MARGIN_MM + self.spacing_mm.max() / 2
        return replace(self, below_mm=margin - own.min(axis=0), above_mm=margin + own.max(axis=0))

    def as_large_as(self, others: Sequence[HeartPlanes]) -> HeartPlanes:
        """The same planes with the room that several hearts need, so that all are drawn on one scale."""
        everyone = [self, *others]
        return replace(
            self,
            below_mm=np.max([planes.below_mm for planes in everyone], axis=0),
            above_mm=np.max([planes.above_mm for planes in everyone], axis=0),
        )

    def size_mm(self, view: int) -> tuple[float, float]:
        """Width and height of a view."""
        room = self.below_mm + self.above_mm
        columns, rows = SEEN[view]
        return float(room[columns]), float(room[rows])

    def cut(self, volume: Array, view: int) -> Array:
        """One view of a volume (X, Y, Z) as (rows, columns) places.

        The right ventricle is on the left, the base on top of long axes; the short axis is seen from the apex.

        Args:
            volume: places of the structures.
            view: place in `VIEWS`.
        """
        from scipy.ndimage import map_coordinates, zoom

        points = self._points(view)
        flat = points.reshape(3, -1)
        shares = [  # without the prefilter a spline smooths: a share stays between 0 and 1
            map_coordinates(
                (volume == place).astype(np.float32), flat, order=3, mode="constant", prefilter=False
            )
            for place in range(1, len(STRUCTURES) + 1)
        ]
        scores = np.stack([1.0 - np.sum(shares, axis=0), *shares]).reshape(-1, *points.shape[1:])
        fine = zoom(scores, (1, FINE, FINE), order=1, grid_mode=True, mode="nearest")
        return fine.argmax(axis=0).astype(np.uint8)

    def _points(self, view: int) -> Array:
        """(3, rows, columns) of a view, voxels; `FINE` pixels apart."""
        columns, rows = SEEN[view]
        steps = [np.zeros((1, 1)) for _ in range(3)]
        # Against the direction of the right ventricle, which is so on the left; rows run downwards, from the base.
        steps[columns] = (self._steps(0) if columns == 0 else self._steps(columns)[::-1])[None, :]
        steps[rows] = self._steps(rows)[:, None]
        own = np.stack(np.broadcast_arrays(*steps))
        world = np.tensordot(_directions(self.towards).T, own, axes=1) + self.centre_mm[:, None, None]
        return np.asarray(world / self.spacing_mm[:, None, None])

    def _steps(self, direction: int) -> Array:
        """Places of pixels along a direction, mm, from the farthest one along it to the farthest against it."""
        return np.arange(self.above_mm[direction], -self.below_mm[direction], -FINE * self.pixel_mm)


def _points_of(shape: Array, spacing_mm: Array) -> Array:
    """(N, 3) places of everything that is heart in any frame, mm; the corners of the volume where there is none."""
    found = np.argwhere((shape > 0).any(axis=0))
    return (found if len(found) else np.array([[0, 0, 0], shape.shape[1:]])) * spacing_mm


def _directions(towards: Array) -> Array:
    """(3, 3) the directions of a heart: towards the right ventricle, across, up."""
    x, y = towards
    return np.array([[x, y, 0.0], [-y, x, 0.0], [0.0, 0.0, 1.0]])


def coloured(labels: Array) -> Array:
    """A flat map of places (rows, columns) as an RGB picture (rows, columns, 3) uint8 on white."""
    table = [(255, 255, 255), *(rgb(STRUCTURE_COLOURS[name]) for name in STRUCTURES)]
    return np.array(table, dtype=np.uint8)[np.minimum(labels, len(STRUCTURES))]


def frames_ed_es(shape: Array) -> tuple[int, int]:
    """Frame 0 and the frame with the smallest left ventricle of a heart (T, X, Y, Z)."""
    volumes = (shape == 1).reshape(len(shape), -1).sum(axis=1)
    return 0, int(volumes.argmin())


def spread_frames(count: int, most: int) -> list[int]:
    """At most `most` of `count` frames, the first among them, evenly spread over the cycle."""
    if count <= most:
        return list(range(count))
    return sorted({round(k * count / most) for k in range(most)})
