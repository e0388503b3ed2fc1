"""Displacement fields: the house convention, and the conversion to and from millimetres.

In memory u is (D, *S), component k along array axis k, voxels of the fixed grid, pull direction: the warped
image at index i is the moving image, on the fixed grid, at i + u(i). With A the fixed voxel → RAS affine,

    d_RAS(i) = A[:3, :D] · u(i),      d_LPS = diag(−1, −1, 1) · d_RAS        (mm)

and x ↦ x + d(x) maps a world point of fixed space to moving space. Only the fixed affine enters, whatever
grid the moving file has: who works in world coordinates finds the moving voxel by the moving file's own
affine.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medreg.errors import FieldFormatError
from medreg.io.foreign import LPS


@dataclass(frozen=True)
class Field:
    """A displacement field as read from a file.

    Attributes:
        displacement: (D, *S) float32, voxels of its own grid, pull direction.
        affine: (4, 4) voxel → RAS mm of the grid that the field is defined on (the fixed grid); the
            identity for formats that store none.
        notes: what the reader had to decide.
        path: the file.
        placed: whether the file says where its grid lies; Learn2Reg fields do not and match arrays index by
            index.
    """

    displacement: NDArray[np.float32]
    affine: NDArray[np.float64]
    notes: tuple[str, ...] = ()
    path: Path | None = None
    placed: bool = True

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the grid shape S."""
        return tuple(self.displacement.shape[1:])


def voxel_to_lps_mm(displacement: NDArray[np.floating], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the world displacement (3, *S), LPS mm, of a voxel displacement (D, *S) with D = 2 or 3.

    For D = 2 the grid is a plane in space: its two columns of the affine give all three world components.
    """
    ndim = displacement.shape[0]
    matrix = LPS @ np.asarray(affine, dtype=np.float64)[:3, :ndim]
    return np.tensordot(matrix, np.asarray(displacement, dtype=np.float64), axes=1)


def lps_mm_to_voxel(
    displacement_mm: NDArray[np.floating], affine: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the voxel displacement A⁻¹ · diag(−1, −1, 1) · d of a world displacement d; (3, *S), LPS mm."""
    matrix = np.linalg.inv(np.asarray(affine, dtype=np.float64)[:3, :3]) @ LPS
    return np.tensordot(matrix, np.asarray(displacement_mm, dtype=np.float64), axes=1)


def index_field_to_world(
    displacement: NDArray[np.floating], fixed_affine: NDArray[np.float64], moving_affine: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Turn a field that matches arrays index by index into the house convention.

    Learn2Reg fields and many networks sample the moving *array* at i + u(i) and ignore both headers. The same
    correspondence in world coordinates is u'(i) = A_f⁻¹ A_m (i + u(i)) − i, which equals u if the affines
    agree.

    Args:
        displacement: (3, X, Y, Z) voxels, index to index.
        fixed_affine: (4, 4) of the fixed image.
        moving_affine: (4, 4) of the moving image.
    """
    matrix = np.linalg.solve(
        np.asarray(fixed_affine, dtype=np.float64), np.asarray(moving_affine, dtype=np.float64)
    )
    grid = np.indices(displacement.shape[1:], dtype=np.float64)
    moved = np.tensordot(matrix[:3, :3], grid + displacement, axes=1) + matrix[:3, 3].reshape(3, 1, 1, 1)
    return moved - grid


def checked_displacement(displacement: NDArray[np.floating], path: str | Path) -> NDArray[np.float64]:
    """Return a displacement (D, *S) to be written as float64.

    Raises:
        FieldFormatError: another shape, or values that are not finite.
    """
    array = np.asarray(displacement, dtype=np.float64)
    if array.ndim not in (3, 4) or array.shape[0] != array.ndim - 1:
        raise FieldFormatError(
            f"{path}: a displacement has shape (2, X, Y) or (3, X, Y, Z), components first; "
            f"this is {array.shape}."
        )
    if not np.isfinite(array).all():
        raise FieldFormatError(f"{path}: the displacement holds NaN or infinite values; it was not written.")
    return array
