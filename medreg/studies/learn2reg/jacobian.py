"""Jacobian of a displacement field slab by slab: what the official regularity metric needs, and the folds it hides."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medreg.kernels.compile import available
from medreg.kernels.determinants import central_determinants
from medreg.studies.learn2reg.fields import FieldArray

CROP = 2  # voxels left out at each side, so that zero padding of the stencil never matters
SHIFT = 3.0  # added to the determinant by official code, in all editions
CLIP = (1e-9, 1e9)
SLAB_VOXELS = 2**16  # of one piece of work: its float64 temporaries stay in the cache

Array = NDArray[np.float64]


@dataclass
class Moments:
    """Running count, mean and sum of squared deviations, merged piece by piece (Chan, Golub and LeVeque 1983)."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, values: Array) -> None:
        """Take in the values of a piece."""
        count = values.size
        if not count:
            return
        mean = float(values.mean())
        deviations = values - mean
        # a dot product would wake the threads of the linear algebra library, to wait
        deviations *= deviations
        between = mean - self.mean
        total = self.count + count
        self.squares += float(deviations.sum()) + between**2 * self.count * count / total
        self.mean += between * count / total
        self.count = total

    @property
    def std(self) -> float:
        """Population standard deviation; NaN of nothing."""
        return math.sqrt(self.squares / self.count) if self.count else math.nan


@dataclass(frozen=True)
class Regularity:
    """Regularity of one field over the cropped volume, or over the mask inside it.

    Attributes:
        shifted: standard deviation of ln clip(det J + 3), the official SDlogJ.
        plain: standard deviation of ln clip(det J).
        folds: voxels with det J ≤ 0.
        voxels: voxels looked at.
    """

    shifted: float
    plain: float
    folds: int
    voxels: int

    @property
    def folding_percent(self) -> float:
        """Share of folded voxels, per cent."""
        return 100 * self.folds / self.voxels if self.voxels else math.nan


def regularity(field: FieldArray, *, mask: NDArray[np.generic] | None = None) -> Regularity:
    """Spread of the log Jacobian and number of folds, in slabs that need a few megabytes.

    Args:
        field: (X, Y, Z, 3) voxels, at least five along each axis.
        mask: (X, Y, Z); voxels with the value 1 exactly count, as in the official code.
    """
    shifted, plain, folds, voxels = Moments(), Moments(), 0, 0
    inner = (slice(CROP, -CROP),) * 2
    for start, stop, determinant in determinants(field):
        values = determinant.ravel(order="K")
        if mask is not None:
            values = values[(mask[(*inner, slice(start, stop))] == 1).ravel(order="F")]
        folds += int(np.count_nonzero(values <= 0))
        voxels += values.size
        plain.add(np.log(np.clip(values, *CLIP)))
        shifted.add(np.log(np.clip(values + SHIFT, *CLIP)))
    return Regularity(shifted.std, plain.std, folds, voxels)


def determinants(field: FieldArray) -> Iterator[tuple[int, int, Array]]:
    """det(I + ∂u_b/∂x_a) by central differences, cropped by two voxels, in pieces along the last axis.

    Yields:
        first and last (excluded) index along the last axis, and (X−4, Y−4, stop−start) float64, first axis
        fastest.
    """
    size_x, size_y, size_z = field.values.shape[:3]
    step = max(1, SLAB_VOXELS // (size_x * size_y))
    compute = _compiled_determinant if available() else _determinant
    for start in range(CROP, size_z - CROP, step):
        stop = min(start + step, size_z - CROP)
        yield start, stop, compute(field, start, stop)


def _compiled_determinant(field: FieldArray, start: int, stop: int) -> Array:
    """What `_determinant` computes, in one sweep."""
    sizes = field.values.shape
    out = np.empty((stop - start, sizes[1] - 2 * CROP, sizes[0] - 2 * CROP))
    half = field.values.dtype.type(0.5) if field.single else np.float64(0.5)
    central_determinants(*(part.T for part in field.components), half, CROP, start, stop, out)
    return out.T


def _determinant(field: FieldArray, start: int, stop: int) -> Array:
    columns = []
    for axis in range(3):
        rows = [_derivative(part, axis, start, stop, single=field.single) for part in field.components]
        rows[axis] += 1
        columns.append(rows)
    (a, b, c), (d, e, f), (g, h, i) = columns
    return a * (e * i - f * h) - d * (b * i - c * h) + g * (b * f - c * e)


def _derivative(part: NDArray[np.floating], axis: int, start: int, stop: int, *, single: bool) -> Array:
    """Central difference of one component along one axis in a slab, away from the rim."""
    windows = []
    for shift in (1, -1):
        window = [slice(CROP, -CROP), slice(CROP, -CROP), slice(start, stop)]
        low, high = (start, stop) if axis == 2 else (CROP, part.shape[axis] - CROP)
        window[axis] = slice(low + shift, high + shift)
        windows.append(part[tuple(window)])
    difference = np.subtract(*windows, dtype=np.float64)
    difference *= 0.5
    # Official code keeps the derivatives of a float32 field as float32.
    return difference.astype(np.float32).astype(np.float64) if single else difference
