"""Label maps under a field: the nearest-neighbour rule of the official code, and counts of all labels at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medreg.errors import DataError
from medreg.studies.learn2reg.fields import FieldArray

SLAB_VOXELS = 2**16
TABLE_SIZE = 2**16

Index = NDArray[np.unsignedinteger]


@dataclass(frozen=True)
class LabelSet:
    """The labels that are scored, each with its place 1…L; 0 stands for every other value.

    Attributes:
        ids: label ids, ascending.
    """

    ids: tuple[int, ...]

    @classmethod
    def of(cls, *lists: Sequence[int]) -> LabelSet:
        """Return the union of several lists of ids."""
        return cls(tuple(sorted({label for part in lists for label in part})))

    def place(self, label: int) -> int:
        """Place of a label, 0 if it is not scored."""
        return self.ids.index(label) + 1 if label in self.ids else 0

    def index(self, voxels: NDArray[np.generic]) -> Index:
        """Place of the label of every voxel, first axis fastest; values that are no integers match nothing."""
        kind = np.uint8 if len(self.ids) < 2**8 else np.uint16
        wanted = np.asarray(self.ids)
        if (
            voxels.dtype.kind in "iu"
            and min(self.ids, default=0) >= 0
            and max(self.ids, default=0) < TABLE_SIZE
        ):
            table = np.zeros(TABLE_SIZE + 1, dtype=kind)
            table[wanted] = np.arange(1, len(wanted) + 1)
            if voxels.dtype.itemsize == 1 and voxels.dtype.kind == "u":
                return table[voxels]
            return table[np.clip(voxels, -1, TABLE_SIZE)]
        slot = np.searchsorted(wanted, voxels).clip(max=len(wanted) - 1)
        return np.where(wanted[slot] == voxels, slot + 1, 0).astype(kind)


def warp_index(index: Index, field: FieldArray, *, outside: int) -> Index:
    """Carry a map of label places along a field: S(x) = index(⌊x + u(x) + ½⌋).

    A voxel whose position x + u(x), before rounding, leaves [0, n−1] along any axis gets `outside`: that is
    scipy's `map_coordinates` of order 0, which official code uses, also just outside the rim.

    Args:
        index: (X', Y', Z') moving map.
        field: (X, Y, Z, 3) voxels.
        outside: place of the background label.

    Returns:
        (X, Y, Z) of the same type.
    """
    shape = field.values.shape[:3]
    warped = np.empty(shape, dtype=index.dtype, order="F")
    flat = index.ravel(order="F")
    step = max(1, SLAB_VOXELS // (shape[0] * shape[1]))
    strides = np.cumprod((1, *index.shape[:2]))
    grids = [np.arange(n, dtype=np.float64).reshape(np.roll((-1, 1, 1), a)) for a, n in enumerate(shape)]
    for start in range(0, shape[2], step):
        slab = (slice(None), slice(None), slice(start, start + step))
        inside: NDArray[np.bool_] | bool = True
        source = np.zeros(warped[slab].shape, dtype=np.int64, order="F")
        for axis, part in enumerate(field.components):
            grid = grids[axis][..., slab[2]] if axis == 2 else grids[axis]
            position = np.add(part[slab], grid, dtype=np.float64)
            inside = inside & (position >= 0) & (position <= index.shape[axis] - 1)
            position += 0.5
            with np.errstate(invalid="ignore"):  # positions too far away for an integer are outside anyway
                source += strides[axis] * np.floor(position, out=position).astype(np.int64)
        source *= inside
        warped[slab] = np.where(inside, flat[source], np.asarray(outside, dtype=index.dtype))
    return warped


def counts(index: Index, count: int) -> NDArray[np.int64]:
    """Voxels of each place 0…count."""
    planes = np.moveaxis(index, 2, 0)  # one at a time: bincount makes 64-bit integers of what it counts
    return sum(
        (np.bincount(plane.ravel(order="K"), minlength=count + 1) for plane in planes), np.zeros(1, np.int64)
    )


def joint_counts(fixed: Index, warped: Index, count: int) -> NDArray[np.int64]:
    """Voxels that have place i in the fixed and j in the warped map, (count + 1, count + 1)."""
    if fixed.shape != warped.shape:
        raise DataError(
            f"The fixed label map is {fixed.shape} but the field {warped.shape}; they must agree."
        )
    bins = count + 1
    total = np.zeros(bins * bins, dtype=np.int64)
    step = max(1, SLAB_VOXELS // (fixed.shape[0] * fixed.shape[1]))
    for start in range(0, fixed.shape[2], step):
        code = fixed[..., start : start + step].astype(np.int64)
        code *= bins
        code += warped[..., start : start + step]
        total += np.bincount(code.ravel(order="K"), minlength=bins * bins)
    return total.reshape(bins, bins)
