"""Non-diffeomorphic volume of a transformation (LUMIR), by one-sided finite differences.

Liu, Chen, Wei, Carass and Prince, "On finite difference Jacobian computation in deformable image registration",
IJCV 2024.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.typing import NDArray

from medreg.kernels.compile import available
from medreg.kernels.determinants import inverted_volume
from medreg.studies.learn2reg.fields import FieldArray
from medreg.studies.learn2reg.jacobian import SLAB_VOXELS

# Determinants of the tetrahedra: each is six times a signed volume, and two divisions of the cell are averaged.
WEIGHT = 1 / 12
DIAGONALS = (  # steps of the two inner tetrahedra, by pairs of axes
    ((-1, -1, 0), (-1, 0, -1), (0, -1, -1)),
    ((1, 1, 0), (0, 1, 1), (1, 0, 1)),
)

NO_MASK = np.zeros((1, 1, 1), dtype=np.bool_)
Array = NDArray[np.float64]


def non_diffeomorphic_percent(field: FieldArray, *, mask: NDArray[np.bool_] | None = None) -> float:
    """Volume that x + u(x) turns inside out, per cent of the volume looked at.

    Σ_d Σ_x −min(d(x), 0) / 12 over the eight determinants of one-sided differences and two of diagonal ones,
    one voxel away from the rim, over the number of voxels.

    Args:
        field: (X, Y, Z, 3) voxels.
        mask: (X, Y, Z), voxels that count; all if None. LUMIR takes the moving image > 0.

    Returns:
        Per cent; NaN if the mask is empty.
    """
    size_x, size_y, size_z = field.values.shape[:3]
    step = max(1, SLAB_VOXELS // (size_x * size_y))
    volume, voxels = 0.0, 0
    compute = _compiled_inverted if available() else _inverted
    for start in range(1, size_z - 1, step):
        stop = min(start + step, size_z - 1)
        kept = None if mask is None else mask[1:-1, 1:-1, start:stop]
        voxels += (size_x - 2) * (size_y - 2) * (stop - start) if kept is None else int(kept.sum())
        volume += compute(field, start, stop, mask)
    return 100 * volume / voxels if voxels else math.nan


def _compiled_inverted(field: FieldArray, start: int, stop: int, mask: NDArray[np.bool_] | None) -> float:
    """What `_inverted` computes, in one sweep."""
    kept = NO_MASK if mask is None else mask
    parts = (part.T for part in field.components)
    return WEIGHT * float(inverted_volume(*parts, kept.T, mask is not None, start, stop))


def _inverted(field: FieldArray, start: int, stop: int, mask: NDArray[np.bool_] | None) -> float:
    """Inverted volume in a slab, in voxels."""
    kept = None if mask is None else mask[1:-1, 1:-1, start:stop]
    sides = [
        {sign: _steps(field, tuple(sign * (a == axis) for a in range(3)), start, stop) for sign in (1, -1)}
        for axis in range(3)
    ]
    volume = 0.0
    for signs in itertools.product((1, -1), repeat=3):
        rows = [sides[axis][sign] for axis, sign in enumerate(signs)]
        # A backward difference is minus the step to the neighbour behind.
        volume += _negative_part(math.prod(signs) * _determinant(rows), kept)
    for diagonals in DIAGONALS:
        rows = [_steps(field, step, start, stop) for step in diagonals]
        volume += _negative_part(_determinant(rows), kept)
    return WEIGHT * volume


def _steps(field: FieldArray, step: tuple[int, ...], start: int, stop: int) -> list[Array]:
    """Change of each component of x + u(x) over a step, in a slab away from the rim."""
    sizes = field.values.shape[:3]
    lows, highs = (1, 1, start), (sizes[0] - 1, sizes[1] - 1, stop)
    here = tuple(slice(low, high) for low, high in zip(lows, highs, strict=True))
    there = tuple(slice(low + s, high + s) for low, high, s in zip(lows, highs, step, strict=True))
    parts = field.components
    return [np.subtract(parts[b][there], parts[b][here], dtype=np.float64) + step[b] for b in range(3)]


def _determinant(rows: list[list[Array]]) -> Array:
    (a, b, c), (d, e, f), (g, h, i) = rows
    return a * (e * i - f * h) - d * (b * i - c * h) + g * (b * f - c * e)


def _negative_part(determinant: Array, kept: NDArray[np.bool_] | None) -> float:
    np.minimum(determinant, 0, out=determinant)
    return -float(determinant.sum() if kept is None else determinant[kept].sum())
