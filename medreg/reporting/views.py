"""How arrays are cut into flat pictures and turned to the display orientation.

Display convention. A flat picture is (rows, columns), first row on top. Single slices and stacks of slices are shown
in stored order: axis 0 runs to the right, axis 1 runs down (an LPS scanner image appears as on the console). Volumes
are shown in radiological orientation: the patient's right is on the viewer's left, anterior is on top of axial planes
and left of sagittal ones, superior is on top of coronal and sagittal planes. That needs to know where the array axes
point: `orientation` names the direction in which each array index *increases*, "RAS" if not given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Letters: TypeAlias = tuple[str, str, str, str] | tuple[()]

STORED = "LP"  # axis codes that make a single slice appear in stored order
OPPOSITE = {"R": "L", "L": "R", "A": "P", "P": "A", "S": "I", "I": "S"}
PLANE_NAMES = {"LR": "sagittal", "AP": "coronal", "IS": "axial"}  # by the axis that the plane is normal to
RADIOLOGICAL = "LPI"  # the direction in which columns (L, or P) and rows (P, or I) increase on the screen


@dataclass(frozen=True)
class View:
    """One flat view of arrays on one grid.

    Attributes:
        name: What is seen, such as "slice 4" or "axial 17".
        normal: The array axis that the view is normal to, None for arrays that are flat themselves.
        index: Position along `normal`.
        orientation: Axis codes, one letter per array axis.
        lettered: Whether the directions are known well enough to be written beside the picture.
    """

    name: str = ""
    normal: int | None = None
    index: int = 0
    orientation: str = STORED
    lettered: bool = False

    @property
    def axes(self) -> tuple[int, int]:
        """The array axes shown along rows and columns: left-right, else front-back, lies across the screen."""
        order = ["LR", "AP", "IS"]
        free = [axis for axis in range(len(self.orientation)) if axis != self.normal]
        column, row = sorted(free, key=lambda axis: order.index(_pair_of(self.orientation[axis])))
        return row, column

    @property
    def letters(self) -> Letters:
        """Patient directions at the left, right, top and bottom edge; empty where not known."""
        if not self.lettered:
            return ()
        row, column = (self.orientation[axis] for axis in self.axes)
        right, bottom = (code if code in RADIOLOGICAL else OPPOSITE[code] for code in (column, row))
        return OPPOSITE[right], right, OPPOSITE[bottom], bottom

    def sign(self, axis: int) -> float:
        """−1 for an axis that is shown against its index, else 1."""
        return 1.0 if self.orientation[axis] in RADIOLOGICAL else -1.0

    def spacing_mm(self, spacing_mm: Sequence[float]) -> tuple[float, float]:
        """Height and width of a pixel in mm."""
        row, column = self.axes
        return spacing_mm[row], spacing_mm[column]

    def flat(self, array: Array) -> Array:
        """Cut an array (*S) and turn it to (rows, columns)."""
        row, column = self.axes
        plane = array if self.normal is None else np.take(array, self.index, axis=self.normal)
        plane = plane.T if row > column else plane
        return np.flip(plane, tuple(i for i, axis in enumerate((row, column)) if self.sign(axis) < 0))


def axis_codes(affine: Array) -> str:
    """The anatomical direction in which each voxel index increases, for example "LPS".

    Args:
        affine: (4, 4) voxel to world matrix, world RAS in mm. Oblique axes get the nearest free direction.
    """
    cosines = np.asarray(affine, dtype=float)[:3, :3]
    cosines = cosines / np.maximum(np.linalg.norm(cosines, axis=0), 1e-12)
    codes = ["", "", ""]
    strength = np.abs(cosines)
    for _ in range(3):
        world, axis = np.unravel_index(int(np.argmax(strength)), strength.shape)
        codes[axis] = "RAS"[world] if cosines[world, axis] >= 0 else OPPOSITE["RAS"[world]]
        strength[world, :] = -1.0
        strength[:, axis] = -1.0
    return "".join(codes)


def choose_slices(stack: Array, count: int) -> list[int]:
    """Up to `count` slices of a stack (N, X, Y), spread evenly over those that hold anything, labels best."""
    worth = np.any(stack.reshape(len(stack), -1) != 0, axis=1)
    candidates = np.flatnonzero(worth) if worth.any() else np.arange(len(stack))
    if len(candidates) <= count:
        return [int(index) for index in candidates]
    places = (np.arange(count) + 0.5) / count * len(candidates)
    return [int(candidates[int(place)]) for place in places]


def choose_centre(image: Array, label: Array | None) -> tuple[int, ...]:
    """The voxel of a volume through which the three orthogonal planes go: where most of the labels lie."""
    if label is not None and np.any(label):
        weight = (label != 0).astype(float)
    else:
        bright = np.nan_to_num(image.astype(float))
        weight = bright - bright.min()
    if not weight.any():
        return tuple(size // 2 for size in weight.shape)
    axes = range(weight.ndim)
    profiles = [weight.sum(axis=tuple(other for other in axes if other != axis)) for axis in axes]
    return tuple(round(float(np.average(np.arange(len(profile)), weights=profile))) for profile in profiles)


def orthogonal_views(centre: Sequence[int], *, orientation: str | None) -> list[View]:
    """The axial, coronal and sagittal view through a voxel of a volume."""
    codes = orientation or "RAS"
    normals = sorted(range(3), key=lambda axis: ["IS", "AP", "LR"].index(_pair_of(codes[axis])))
    known = orientation is not None
    names = [f"{PLANE_NAMES[_pair_of(codes[axis])]} {centre[axis]}" for axis in normals]
    return [View(name, axis, centre[axis], codes, known) for name, axis in zip(names, normals, strict=True)]


def _pair_of(code: str) -> str:
    return "".join(sorted((code, OPPOSITE[code])))
