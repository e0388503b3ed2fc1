"""Three planes of a heart: the short axis, the long axis through both ventricles, and the one across it.

Planes are chosen from the heart itself, since the right ventricle lies obliquely to the axes of the array. Between
voxels the share of each structure is linear and the largest wins, so that outlines are those of the voxels, but smooth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from medreg.reporting.heart_style import STRUCTURE_COLOURS, STRUCTURES, rgb
from medreg.reporting.views import Array

VIEWS = ("short axis", "long axis, both ventricles", "long axis, across")
NO_RIGHT = np.array([-1.0, -1.0]) / np.sqrt(2.0)  # where the right ventricle is expected where there is none
MARGIN_MM = 6.0  # around the heart
LEVEL = 0.55  # of the length of the left ventricle from its apex, where the short axis is cut


@dataclass(frozen=True)
class HeartPlanes:
    """Where a heart is cut.

    Attributes:
        centre_mm: (3,) of the left ventricle, from the first voxel; z is the level of the short axis.
        towards: (2,) unit vector in x and y from the left to the right ventricle.
        half_mm: half the width of a picture.
        low_mm: from the lowest z that is shown to `centre_mm[2]`.
        high_mm: from there to the highest.
        spacing_mm: (3,) of the voxels.
        pixel_mm: side of a pixel.
    """

    centre_mm: Array
    towards: Array
    half_mm: float
    low_mm: float
    high_mm: float
    spacing_mm: Array
    pixel_mm: float

    @classmethod
    def of(cls, shape: Array, spacing_mm: Sequence[float] | Array, *, pixel_mm: float = 1.0) -> HeartPlanes:
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
        heart = np.argwhere((shape > 0).any(axis=0)) * spacing
        if not len(heart):
            heart = np.array([[0.0, 0.0, 0.0], np.array(shape.shape[1:]) * spacing])
        left = np.argwhere(shape[0] == 1) * spacing
        left = left if len(left) else heart
        right = np.argwhere(shape[0] == 3) * spacing
        centre = left.mean(axis=0)
        centre[2] = left[:, 2].min() + LEVEL * np.ptp(left[:, 2])
        towards = right.mean(axis=0)[:2] - centre[:2] if len(right) else NO_RIGHT
        length = float(np.linalg.norm(towards))
        reach = float(np.linalg.norm(heart[:, :2] - centre[:2], axis=1).max())
        return cls(
            centre_mm=centre,
            towards=towards / length if length > 0 else NO_RIGHT,
            half_mm=reach + MARGIN_MM,
            low_mm=float(centre[2] - heart[:, 2].min()) + MARGIN_MM,
            high_mm=float(heart[:, 2].max() - centre[2]) + MARGIN_MM,
            spacing_mm=spacing,
            pixel_mm=pixel_mm,
        )

    def as_large_as(self, others: Sequence[HeartPlanes]) -> HeartPlanes:
        """The same planes with the room that several hearts need, so that all are drawn on one scale."""
        everyone = [self, *others]
        return replace(
            self,
            half_mm=max(planes.half_mm for planes in everyone),
            low_mm=max(planes.low_mm for planes in everyone),
            high_mm=max(planes.high_mm for planes in everyone),
        )

    def cut(self, volume: Array, view: int) -> Array:
        """One view of a volume (X, Y, Z) as (rows, columns) places; base on top of long axes, RV on the left.

        Args:
            volume: places of the structures.
            view: place in `VIEWS`.
        """
        from scipy.ndimage import map_coordinates

        points = self._points(view)
        flat = points.reshape(3, -1)
        shares = np.stack([
            map_coordinates((volume == place).astype(np.float32), flat, order=1, mode="constant")
            for place in range(1, len(STRUCTURES) + 1)
        ])  # fmt: skip
        scores = np.concatenate([1.0 - shares.sum(axis=0, keepdims=True), shares])
        return scores.argmax(axis=0).astype(np.uint8).reshape(points.shape[1:])

    def _points(self, view: int) -> Array:
        """(3, rows, columns) of a view, voxels."""
        across = np.array([-self.towards[1], self.towards[0]])
        along = np.arange(-self.half_mm, self.half_mm + self.pixel_mm / 2, self.pixel_mm)
        if view == 0:  # right ventricle on the left; the other direction so that nothing is mirrored
            rows, columns = np.meshgrid(along, along, indexing="ij")
            plane = self._plane(-columns, rows, across)
            z = np.full_like(rows, self.centre_mm[2])
        else:
            up = np.arange(self.high_mm, -self.low_mm - self.pixel_mm / 2, -self.pixel_mm)
            rows, columns = np.meshgrid(up, along, indexing="ij")
            zero = np.zeros_like(rows)
            plane = self._plane(-columns, zero, across) if view == 1 else self._plane(zero, columns, across)
            z = self.centre_mm[2] + rows
        return np.stack([plane[0], plane[1], z]) / self.spacing_mm[:, None, None]

    def _plane(self, towards: Array, across: Array, direction: Array) -> Array:
        """Points (2, …) in x and y from steps towards the right ventricle and across, mm."""
        return np.asarray(
            self.centre_mm[:2].reshape(2, 1, 1)
            + self.towards.reshape(2, 1, 1) * towards
            + direction.reshape(2, 1, 1) * across
        )


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
