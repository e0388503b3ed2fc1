"""Distances between the surfaces of two structures in millimetres, and ITK's distances between their voxels.

Every definition in the field gives another number on the same pair, so each is stated where it is computed.
The surface of a structure is the set of its voxels that have a face neighbour (2-D: an edge neighbour)
outside it; what lies beyond the image counts as outside. Distances run between voxel centres.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medreg.kernels.compile import available, run_chunks, threads
from medreg.kernels.nearby import first_marked

_REACHES = (6, 14)  # voxels around a point that are looked at one by one, before a tree is asked
BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]


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


def nearest_mm(sources: BoolArray, targets: BoolArray, spacing_mm: Sequence[float]) -> FloatArray:
    """Distance in mm of every source voxel to the nearest target voxel, in array order.

    Most voxels of two similar surfaces have a partner within a few voxels: those are found by looking at the
    neighbours from the nearest on. A k-d tree answers for the others.
    """
    if not available():
        return _tree_distances(np.argwhere(sources), targets, spacing_mm)
    points = np.argwhere(sources)
    distances = np.empty(len(points))
    left = np.arange(len(points))
    for reach in _REACHES:
        distances[left] = near = _near_distances(points[left], targets, spacing_mm, reach)
        left = left[near == np.inf]
        if not left.size:
            return distances
    distances[left] = _tree_distances(points[left], targets, spacing_mm)
    return distances


def _near_distances(
    points: NDArray[np.intp], targets: BoolArray, spacing_mm: Sequence[float], reach: int
) -> FloatArray:
    """Distance in mm of voxels (N, D) to the nearest target within reach, or infinity."""
    offsets, lengths = neighbours(tuple(float(mm) for mm in spacing_mm), reach)
    margin = np.pad(targets, reach)
    strides = np.array(margin.strides)
    found = np.empty(len(points), dtype=np.int32)
    flat = (points + reach) @ strides
    run_chunks(first_marked, len(points), margin.view(np.uint8).ravel(), flat, offsets @ strides, found)
    return lengths[found]  # none found is number −1, the infinity at the end


def _tree_distances(points: NDArray[np.intp], targets: BoolArray, spacing_mm: Sequence[float]) -> FloatArray:
    """Distance in mm of voxels (N, D) to the nearest target voxel, by a k-d tree."""
    distances = np.zeros(len(points))
    apart = ~targets[tuple(points.T)]  # a voxel of both sets is at distance 0, no query needed
    if apart.any():
        from scipy.spatial import KDTree  # a tenth of a second, which few pairs need

        scale = np.asarray(spacing_mm, dtype=np.float64)
        # A balanced tree costs more to build than it saves on lattice points.
        tree = KDTree(np.argwhere(targets) * scale, balanced_tree=False)
        distances[apart] = tree.query(points[apart] * scale, workers=threads())[0]
    return distances


@lru_cache(maxsize=8)
def neighbours(spacing_mm: tuple[float, ...], reach: int) -> tuple[NDArray[np.intp], FloatArray]:
    """Steps to the voxels around one, by their length: (K, D) voxels, and (K + 1,) mm with infinity at the end.

    All steps that are shorter than any that leaves the cube of ± reach voxels, so none is missing before one
    that is listed.
    """
    offsets = np.indices([2 * reach + 1] * len(spacing_mm)).reshape(len(spacing_mm), -1).T - reach
    lengths = np.sqrt(np.square(offsets * np.asarray(spacing_mm)).sum(axis=1))
    kept = lengths < (reach + 1) * min(spacing_mm)
    order = np.argsort(lengths[kept], kind="stable")
    return offsets[kept][order], np.append(lengths[kept][order], np.inf)


def union_box(first: BoolArray, second: BoolArray) -> tuple[slice, ...]:
    """Smallest box that holds both structures."""
    found = ndimage.find_objects((first | second).astype(np.uint8))
    return found[0] if found else (slice(0, 0),) * first.ndim


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
    edge_first, edge_second = boundary(first[box]), boundary(second[box])
    return SurfaceDistances(
        nearest_mm(edge_first, edge_second, spacing_mm), nearest_mm(edge_second, edge_first, spacing_mm)
    )


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
    boxes = (
        ndimage.find_objects(fixed_index, max_label=count),
        ndimage.find_objects(warped_index, max_label=count),
    )
    nowhere = (slice(0, 0),) * fixed_index.ndim
    for position, found in enumerate(zip(*boxes, strict=True), start=1):
        present = [box for box in found if box is not None]
        union = tuple(
            slice(min(side.start for side in sides), max(side.stop for side in sides))
            for sides in zip(*present, strict=True)
        )
        box = union or nowhere
        yield fixed_index[box] == position, warped_index[box] == position
