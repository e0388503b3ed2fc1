"""Distances between the surfaces of two structures in millimetres, and ITK's distances between their voxels.

Every definition in the field gives another number on the same pair, so each is stated where it is computed.
The surface of a structure is the set of its voxels that have a face neighbour (2-D: an edge neighbour)
outside it; what lies beyond the image counts as outside. Distances run between voxel centres.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medreg.kernels.compile import available
from medreg.kernels.elements import label_boxes, rim_voxels
from medreg.metrics.nearest import MARGIN, BoolArray, FloatArray, Marks, distances_mm, nearest_mm


@dataclass(frozen=True)
class SurfaceDistances:
    """Distance of every surface voxel of one structure to the nearest surface voxel of the other, mm.

    Both arrays are empty when either structure is empty, and every summary is then NaN.
    """

    first_to_second: FloatArray  # (number of surface voxels of the first,) mm
    second_to_first: FloatArray  # (number of surface voxels of the second,) mm

    def percentile_mm(self, percent: float) -> float:
        """Larger of the two directed percentiles, each by linear interpolation between order statistics."""
        if not self.first_to_second.size:
            return math.nan
        directed = (self.first_to_second, self.second_to_first)
        return max(float(np.percentile(distances, percent)) for distances in directed)

    @property
    def hd_mm(self) -> float:
        """Hausdorff distance of the surfaces: the largest distance of either direction."""
        return self.percentile_mm(100.0)

    @property
    def hd95_mm(self) -> float:
        """Larger of the two directed 95th percentiles (not the percentile of both directions pooled)."""
        return self.percentile_mm(95.0)

    @property
    def assd_mm(self) -> float:
        """Average symmetric surface distance: mean over the surface voxels of both structures together."""
        pooled = np.concatenate([self.first_to_second, self.second_to_first])
        return float(pooled.mean()) if pooled.size else math.nan


@dataclass(frozen=True)
class ItkHausdorff:
    """What ITK's HausdorffDistanceImageFilter reports: distances between sets of voxels, not surfaces."""

    maximum_mm: float
    average_mm: float


def boundary(mask: BoolArray) -> BoolArray:
    """Voxels of the mask with a face neighbour outside it; same shape as the mask."""
    padded = np.pad(mask, 1)
    interior = mask.copy()
    for axis in range(mask.ndim):
        for neighbour in (slice(None, -2), slice(2, None)):
            window = [slice(1, -1)] * mask.ndim
            window[axis] = neighbour
            interior &= padded[tuple(window)]
    return mask & ~interior


def _surface(mask: BoolArray) -> Marks:
    """Marks of the surface voxels of a mask."""
    if mask.ndim != 3 or not available():
        return Marks.of(boundary(mask))
    marks = Marks.room(mask.shape)
    count = rim_voxels(np.ascontiguousarray(mask), MARGIN, marks.grid, marks.places)
    return Marks(marks.grid, marks.places[:count])


def union_box(first: BoolArray, second: BoolArray) -> tuple[slice, ...]:
    """Smallest box that holds both structures."""
    both, box = first | second, []
    for axis in range(first.ndim):
        there = np.flatnonzero(both.any(axis=tuple(other for other in range(first.ndim) if other != axis)))
        if not there.size:
            return (slice(0, 0),) * first.ndim
        box.append(slice(int(there[0]), int(there[-1]) + 1))
    return tuple(box)


def surface_distances(
    first: BoolArray, second: BoolArray, *, spacing_mm: Sequence[float]
) -> SurfaceDistances:
    """Directed distances between the surfaces of two structures, inside their common box.

    Args:
        first: (*S) mask, 2-D or 3-D.
        second: (*S) mask on the same grid.
        spacing_mm: voxel size along each array axis.

    Returns:
        The distances of both directions; empty where either mask is empty.
    """
    if not (first.any() and second.any()):
        return SurfaceDistances(np.zeros(0), np.zeros(0))
    box = union_box(first, second)
    one, other = _surface(first[box]), _surface(second[box])
    return SurfaceDistances(distances_mm(one, other, spacing_mm), distances_mm(other, one, spacing_mm))


def hd_mm(first: BoolArray, second: BoolArray, *, spacing_mm: Sequence[float]) -> float:
    """Hausdorff distance of the surfaces, mm: max(max_a d(a, ∂B), max_b d(b, ∂A)); NaN if one is empty."""
    return surface_distances(first, second, spacing_mm=spacing_mm).hd_mm


def hd95_mm(first: BoolArray, second: BoolArray, *, spacing_mm: Sequence[float]) -> float:
    """Robust Hausdorff distance, mm: the larger of the two directed 95th percentiles; NaN if one is empty.

    The definition of MONAI's `compute_hausdorff_distance(percentile=95)`. `surfel.hd95_mm` weights by surface
    area instead, as Learn2Reg does.
    """
    return surface_distances(first, second, spacing_mm=spacing_mm).hd95_mm


def assd_mm(first: BoolArray, second: BoolArray, *, spacing_mm: Sequence[float]) -> float:
    """Average symmetric surface distance, mm: (Σ_a d(a, ∂B) + Σ_b d(b, ∂A)) / (|∂A| + |∂B|).

    The mean over the surface voxels of both structures together; NaN if one is empty.
    """
    return surface_distances(first, second, spacing_mm=spacing_mm).assd_mm


def itk_hausdorff(first: BoolArray, second: BoolArray, *, spacing_mm: Sequence[float]) -> ItkHausdorff:
    """Distances as ITK's HausdorffDistanceImageFilter defines them, which the GraDIRN release reports.

    d(a, B) is the distance of a voxel to the nearest voxel of B, 0 inside B. The maximum is
    max(max_{a∈A} d(a, B), max_{b∈B} d(b, A)); the average is ½(mean_{a∈A} d(a, B) + mean_{b∈B} d(b, A)), over
    all voxels of the objects and not their surfaces, so that it is far below the ASSD of the same pair.
    NaN if either is empty.
    """
    if not (first.any() and second.any()):
        return ItkHausdorff(math.nan, math.nan)
    box = union_box(first, second)
    one, other = first[box], second[box]
    # From outside, the nearest voxel of an object is on its surface: no others need be looked at.
    there = nearest_mm(one & ~other, boundary(other), spacing_mm)
    back = nearest_mm(other & ~one, boundary(one), spacing_mm)
    means = (there.sum() / np.count_nonzero(one), back.sum() / np.count_nonzero(other))
    return ItkHausdorff(float(max(there.max(initial=0), back.max(initial=0))), float(sum(means) / 2))


def itk_average_hausdorff(first: BoolArray, second: BoolArray, *, spacing_mm: Sequence[float]) -> float:
    """ITK's average Hausdorff distance, mm; see `itk_hausdorff` for its definition."""
    return itk_hausdorff(first, second, spacing_mm=spacing_mm).average_mm


def structure_masks(
    fixed_index: NDArray[np.integer], warped_index: NDArray[np.integer], count: int
) -> Iterator[tuple[BoolArray, BoolArray]]:
    """Masks of structures 1…count in both maps, each pair cropped to the box of their union.

    The boxes of all structures come from one pass over each map, which is what makes many structures cheap.

    Args:
        fixed_index: (*S) integers 0…count.
        warped_index: (*S) integers 0…count.
        count: number of structures.

    Yields:
        fixed and warped mask of each structure in turn; of size zero where it is in neither map.
    """
    boxes = _boxes if fixed_index.ndim != 3 or not available() else _compiled_boxes
    for position, box in enumerate(boxes(fixed_index, warped_index, count), start=1):
        yield fixed_index[box] == position, warped_index[box] == position


def _boxes(one: NDArray[np.integer], other: NDArray[np.integer], count: int) -> Iterator[tuple[slice, ...]]:
    """Box of the union of each structure 1…count in two maps."""
    from scipy import ndimage

    found = (ndimage.find_objects(one, max_label=count), ndimage.find_objects(other, max_label=count))
    for pair in zip(*found, strict=True):
        present = [box for box in pair if box is not None]
        sides = zip(*present, strict=True)
        union = tuple(slice(min(s.start for s in side), max(s.stop for s in side)) for side in sides)
        yield union or (slice(0, 0),) * one.ndim


def _compiled_boxes(
    one: NDArray[np.integer], other: NDArray[np.integer], count: int
) -> Iterator[tuple[slice, ...]]:
    """What `_boxes` finds, without scipy, whose import takes longer."""
    first = np.full((count + 1, 3), max(one.shape), dtype=np.int64)
    last = np.full((count + 1, 3), -1, dtype=np.int64)
    for labels in (one, other):
        label_boxes(np.ascontiguousarray(labels), first, last)
    for start, stop in zip(first[1:].tolist(), (last[1:] + 1).tolist(), strict=True):
        yield tuple(slice(min(a, b), b) for a, b in zip(start, stop, strict=True))
