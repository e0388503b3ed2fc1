"""Distance of marked points of a voxel grid to the nearest marked point of another grid of the same size.

Most points of two similar surfaces have a partner within a few voxels: those are found by searching the neighbours,
nearest first. A k-d tree answers for the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from medreg.kernels.compile import available, run_chunks, threads
from medreg.kernels.nearby import first_marked

MARGIN = 6  # voxels around a point that are looked at one by one
_FAR = 14  # the same, in a second look at what is then left

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Marks:
    """Marked points of a voxel grid.

    Attributes:
        grid: (*S) uint8 and `MARGIN` at each side, 0 where nothing is marked.
        places: (N,) flat indices of the marks, ascending.
    """

    grid: NDArray[np.uint8]
    places: NDArray[np.int64]

    @classmethod
    def of(cls, values: NDArray[np.uint8] | BoolArray) -> Marks:
        """Return the marks of an array (*S) that is zero elsewhere."""
        grid = np.pad(values.view(np.uint8), MARGIN)
        return cls(grid, np.flatnonzero(grid))

    @classmethod
    def room(cls, shape: Sequence[int]) -> Marks:
        """Return an empty grid (*S), and room for as many places as it has points."""
        grid = np.zeros([size + 2 * MARGIN for size in shape], dtype=np.uint8)
        return cls(grid, np.empty(grid.size, dtype=np.int64))

    @property
    def values(self) -> NDArray[np.uint8]:
        """(N,) values of the marks."""
        return self.grid.ravel()[self.places]

    @property
    def inner(self) -> NDArray[np.uint8]:
        """(*S) the grid without its margin."""
        return self.grid[(slice(MARGIN, -MARGIN),) * self.grid.ndim]

    def points(self, which: NDArray[np.intp]) -> NDArray[np.intp]:
        """(K, D) indices in (*S) of some of the marks."""
        return np.stack(np.unravel_index(self.places[which], self.grid.shape), axis=1) - MARGIN


def nearest_mm(sources: BoolArray, targets: BoolArray, spacing_mm: Sequence[float]) -> FloatArray:
    """Distance in mm of every source voxel to the nearest target voxel, in array order."""
    return distances_mm(Marks.of(sources), Marks.of(targets), spacing_mm)


def distances_mm(sources: Marks, targets: Marks, spacing_mm: Sequence[float]) -> FloatArray:
    """Distance in mm of every source to the nearest target, in the order of `sources.places`.

    Args:
        sources: N marks.
        targets: marks on a grid of the same size, at least one.
        spacing_mm: size of a voxel along each array axis.
    """
    everything = np.arange(len(sources.places))
    if not available():
        return _tree_distances(sources.points(everything), targets, spacing_mm)
    offsets, lengths = neighbours(tuple(float(mm) for mm in spacing_mm), MARGIN)
    distances = lengths[_search(targets.grid, sources.places, offsets)]
    left = np.flatnonzero(distances == np.inf)
    if left.size:
        distances[left] = _far_distances(sources.points(left), targets, spacing_mm)
    return distances


def _search(
    grid: NDArray[np.uint8], places: NDArray[np.int64], offsets: NDArray[np.intp]
) -> NDArray[np.int32]:
    """Number of the first offset (K, D) that leads from each place to a mark, or −1."""
    found = np.empty(len(places), dtype=np.int32)
    run_chunks(first_marked, len(places), grid.ravel(), places, offsets @ np.array(grid.strides), found)
    return found


def _far_distances(points: NDArray[np.intp], targets: Marks, spacing_mm: Sequence[float]) -> FloatArray:
    """Distance in mm of points (N, D) that have no target nearby."""
    offsets, lengths = neighbours(tuple(float(mm) for mm in spacing_mm), _FAR)
    wide = np.pad(targets.grid, _FAR - MARGIN)
    distances = lengths[_search(wide, (points + _FAR) @ np.array(wide.strides), offsets)]
    left = distances == np.inf
    if left.any():
        distances[left] = _tree_distances(points[left], targets, spacing_mm)
    return distances


def _tree_distances(points: NDArray[np.intp], targets: Marks, spacing_mm: Sequence[float]) -> FloatArray:
    """Distance in mm of points (N, D) to the nearest target, by a k-d tree."""
    distances = np.zeros(len(points))
    apart = targets.inner[tuple(points.T)] == 0  # a point of both sets is at distance 0, no query needed
    if apart.any():
        from scipy.spatial import KDTree  # a tenth of a second, which few pairs need

        scale = np.asarray(spacing_mm, dtype=np.float64)
        known = targets.points(np.arange(len(targets.places)))
        # A balanced tree costs more to build than it saves on lattice points.
        tree = KDTree(known * scale, balanced_tree=False)
        distances[apart] = tree.query(points[apart] * scale, workers=threads())[0]
    return distances


@lru_cache(maxsize=8)
def neighbours(spacing_mm: tuple[float, ...], reach: int) -> tuple[NDArray[np.intp], FloatArray]:
    """Steps to the voxels around one, by their length: (K, D) voxels, and (K + 1,) mm with infinity at the end.

    All steps that are shorter than any that leaves the cube of ± reach voxels, so none is missing before one
    that is listed. The infinity is what a search that finds none, number −1, reads.
    """
    offsets = np.indices([2 * reach + 1] * len(spacing_mm)).reshape(len(spacing_mm), -1).T - reach
    lengths = np.sqrt(np.square(offsets * np.asarray(spacing_mm)).sum(axis=1))
    kept = lengths < (reach + 1) * min(spacing_mm)
    order = np.argsort(lengths[kept], kind="stable")
    return offsets[kept][order], np.append(lengths[kept][order], np.inf)
