"""Distance of points of a voxel grid to the nearest marked voxel, by looking at the neighbours in order."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from medreg.kernels.compile import kernel

Array = NDArray[Any]


@kernel
def first_marked(start: int, stop: int, marked: Array, points: Array, steps: Array, found: Array) -> None:
    """Number of the first step that leads from each point to a marked voxel, or −1.

    Args:
        start: first point.
        stop: last point + 1.
        marked: (V,) uint8, a grid with a margin that no step from a point leaves.
        points: (N,) flat indices into it.
        steps: (K,) differences of flat indices.
        found: (N,) int32, written.
    """
    for n in range(start, stop):
        here, number = points[n], -1
        for k in range(steps.size):
            if marked[here + steps[k]] != 0:
                number = k
                break
        found[n] = number
