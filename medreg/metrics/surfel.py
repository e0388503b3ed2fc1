"""Hausdorff distance over area-weighted surface elements, the definition of surface-distance and Learn2Reg.

A surface element sits at every corner of the voxel grid whose 2^D voxels are partly inside the structure; its
area (2-D: length) is that of the marching-cubes patch for the pattern of the 2^D voxels.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from medreg.kernels.compile import available
from medreg.kernels.elements import corner_patterns
from medreg.metrics.nearest import MARGIN, BoolArray, FloatArray, Marks, distances_mm
from medreg.metrics.surface import union_box
from medreg.metrics.surfel_patches import patch_sizes


def _codes(mask: BoolArray) -> NDArray[np.uint8]:
    """Pattern of the 2^D voxels around each grid corner, the first in the highest bit."""
    padded = np.pad(mask, 1).astype(np.uint8)
    bits = 2**mask.ndim - 1
    code = np.zeros([size + 1 for size in mask.shape], dtype=np.uint8)
    for position, corner in enumerate(itertools.product((0, 1), repeat=mask.ndim)):
        window = tuple(slice(low, low + size) for low, size in zip(corner, code.shape, strict=True))
        code |= padded[window] << np.uint8(bits - position)
    return code


def _elements(mask: BoolArray) -> Marks:
    """Corners with a surface element, marked by the pattern of the voxels around them."""
    if mask.ndim == 3 and available():
        marks = Marks.room([size + 1 for size in mask.shape])
        count = corner_patterns(np.ascontiguousarray(mask), MARGIN, marks.grid, marks.places)
        return Marks(marks.grid, marks.places[:count])
    codes = _codes(mask)
    codes[codes == 2**2**mask.ndim - 1] = 0  # all voxels inside: no element, as where none is
    return Marks.of(codes)


def _weighted_percentile(
    distances: FloatArray, codes: NDArray[np.uint8], area: FloatArray, percent: float
) -> float:
    """First distance at which the accumulated area reaches the percentage of the whole.

    Elements are accumulated by distance, then by area. There are few different distances and areas, so that
    elements are counted rather than sorted.
    """
    lengths, sizes = np.unique(distances), np.unique(area)
    keys = np.searchsorted(lengths, distances) * len(sizes) + np.searchsorted(sizes, area)[codes]
    counts = np.bincount(keys, minlength=len(lengths) * len(sizes)).reshape(len(lengths), len(sizes))
    areas = np.repeat(np.tile(sizes, len(lengths)), counts.ravel())
    position = int(np.searchsorted(np.cumsum(areas) / areas.sum(), percent / 100))
    return float(np.repeat(lengths, counts.sum(axis=1))[min(position, distances.size - 1)])


def hd95_mm(
    first: BoolArray, second: BoolArray, *, spacing_mm: Sequence[float], percent: float = 95.0
) -> float:
    """Larger of the two directed area-weighted 95th percentiles of surface-element distances, mm.

    Learn2Reg calls it with unit spacing for every task, so its HD95 is in voxels; the infinity that it gives
    a structure lost in warping is left to the caller.

    Args:
        first: (*S) mask, 2-D or 3-D.
        second: (*S) mask on the same grid.
        spacing_mm: voxel size along each array axis.
        percent: percentage of the surface area.

    Returns:
        Distance in mm; NaN if either mask is empty.
    """
    if not (first.any() and second.any()):
        return math.nan
    box = union_box(first, second)
    one, other = _elements(first[box]), _elements(second[box])
    area = patch_sizes(tuple(float(mm) for mm in spacing_mm))
    return max(
        _weighted_percentile(distances_mm(sources, targets, spacing_mm), sources.values, area, percent)
        for sources, targets in ((one, other), (other, one))
    )
