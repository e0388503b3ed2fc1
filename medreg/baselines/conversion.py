"""Fields of other tools in the house convention: voxels of the fixed grid, index to index.

Tools are given the moving image on the geometry of the fixed one (see `medreg.studies.benchmark.cases`), so that moving
voxel j lies at A_f j in the world and a world displacement d means u(i) = A_f⁻¹ d(i) in voxels.
"""

from __future__ import annotations

from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from medreg.errors import FieldFormatError
from medreg.io.vectors import lps_mm_to_voxel

Array = NDArray[np.float64]


def to_voxels(
    field: NDArray[np.floating], convention: str, *, affine: Array, moving_shape: tuple[int, ...]
) -> Array:
    """Return a tool's field as (3, X, Y, Z) voxels of the fixed grid.

    Args:
        field: (X, Y, Z, 3) as a worker answers.
        convention: "voxel"; "lps_mm", with d = A · u, x and y negated; "normalised", components in reversed axis
            order, −1 and 1 at the centres of the outer voxels of the moving image: u_a = g_a (n_a − 1)/2 for
            images of one shape.
        affine: (4, 4) of the fixed grid, voxel → RAS mm.
        moving_shape: (X, Y, Z) of the moving image.

    Raises:
        FieldFormatError: another shape, an unknown convention, or values that are not finite.
    """
    if field.ndim != 4 or field.shape[-1] != 3:
        raise FieldFormatError(
            f"The tool answered with a field of shape {field.shape}; (X, Y, Z, 3) is needed."
        )
    if not np.isfinite(field).all():
        raise FieldFormatError("The tool answered with NaN or infinite displacements.")
    first = np.moveaxis(np.asarray(field, dtype=np.float64), -1, 0)
    conversions = {
        "voxel": lambda: first,
        "lps_mm": lambda: lps_mm_to_voxel(first, affine),
        "normalised": lambda: _unnormalised(first, moving_shape),
    }
    if convention not in conversions:
        raise FieldFormatError(f"The tool answered in the unknown convention {convention!r}.")
    return conversions[convention]()


def _unnormalised(shift: Array, moving_shape: tuple[int, ...]) -> Array:
    """Return voxels of a shift between normalised coordinates of the fixed and of the moving image.

    A position g in the fixed image stands for voxel (g + 1)(n_f − 1)/2 there, and g + shift for a voxel of the
    moving image by its own size; for equal sizes the identity cancels.
    """
    shape = shift.shape[1:]
    result = np.empty_like(shift)
    for axis, (size, other) in enumerate(zip(shape, moving_shape, strict=True)):
        index = np.arange(size).reshape([-1 if k == axis else 1 for k in range(3)])
        still = 2.0 * index / max(size - 1, 1) - 1.0
        result[axis] = (still + shift[2 - axis] + 1.0) * (other - 1) / 2.0 - index
    return result


@overload
def fitted(array: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]: ...
@overload
def fitted(array: None, shape: tuple[int, ...]) -> None: ...
def fitted(array: NDArray[Any] | None, shape: tuple[int, ...]) -> NDArray[Any] | None:
    """Return an array cut or padded with zeros at its far ends, so that indices keep their meaning."""
    if array is None or array.shape == shape:
        return array
    cut = array[tuple(slice(0, size) for size in shape)]
    return np.pad(cut, [(0, size - have) for size, have in zip(shape, cut.shape, strict=True)])
