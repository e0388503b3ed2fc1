"""Learn2Reg displacement fields: voxels, index to index, mostly without geometry.

Current layout (2022 on): (X, Y, Z, 3), component last, identity affine, `.nii.gz` or a `.npz` of one array.
Layout of 2020 and 2021: `.npz`, key `arr_0`, float16, component first, (3, X/2, Y/2, Z/2). The values of a
half-resolution file stay in full-resolution voxels: it is subsampled in space only, and read back by
enlarging each component with spline order 2 without multiplying it.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medreg.errors import DataError, FieldFormatError
from medreg.io.image import existing_file, geometry_of, load_nibabel, save_nifti
from medreg.io.vectors import Field, checked_displacement

ORDER = 2  # spline order of the official subsampling and of its enlargement


def write_learn2reg_field(
    path: str | Path, displacement: NDArray[np.floating], *, affine: NDArray[np.float64] | None = None
) -> Path:
    """Write (3, X, Y, Z) voxels as (X, Y, Z, 3): float32 NIfTI, or `.npz` by the suffix.

    Args:
        path: destination, .nii, .nii.gz or .npz.
        displacement: (3, X, Y, Z), voxels of the fixed grid, pull.
        affine: (4, 4) of the fixed grid, kept in a NIfTI header so that `read_displacement` knows the place;
            the official files, and None, have the identity, and the official evaluation ignores it.

    Raises:
        FieldFormatError: not a 3-D field, NaN, or another suffix.
    """
    path, field = Path(path), _checked_3d(displacement, path)
    array = np.moveaxis(field, 0, -1).astype(np.float32)
    if path.suffix == ".npz":
        return _save_npz(path, array)
    return save_nifti(path, nib.Nifti1Image(array, np.eye(4) if affine is None else affine))


def write_learn2reg_half_field(path: str | Path, displacement: NDArray[np.floating]) -> Path:
    """Write (3, X, Y, Z) voxels as the `.npz` of 2020/21: float16, half grid, full-resolution voxels."""
    path, field = Path(path), _checked_3d(displacement, path)
    if path.suffix != ".npz":
        raise FieldFormatError(f"{path}: half-resolution Learn2Reg fields are .npz files; change the name.")
    half = _zoom(field, (0.5, 0.5, 0.5))
    return _save_npz(path, half.astype(np.float16))


def read_learn2reg_field(path: str | Path, *, shape: tuple[int, ...] | None = None) -> Field:
    """Read a Learn2Reg field of any edition as (3, X, Y, Z) voxels; the affine is mostly the identity.

    Args:
        path: `.nii.gz`, `.nii` or `.npz`.
        shape: grid of the fixed image; a file of half that size is enlarged, any other size is an error.
            Without it the file is returned at its own size.

    Raises:
        FieldFormatError: no axis of three components, several arrays, or a size that does not fit `shape`.
        DataError: missing or damaged file.
    """
    path = existing_file(path)
    array, affine = (_load_npz(path), np.eye(4)) if path.suffix == ".npz" else _load_nifti(path)
    if array.ndim != 4 or 3 not in (array.shape[0], array.shape[-1]):
        raise FieldFormatError(
            f"{path}: shape {array.shape} is not a Learn2Reg field, (X, Y, Z, 3) or (3, X, Y, Z)."
        )
    # Component last is the current rule and wins if both ends are three long.
    field = np.moveaxis(array, -1, 0) if array.shape[-1] == 3 else array
    notes: tuple[str, ...] = ()
    if shape is not None and field.shape[1:] != tuple(shape):
        if field.shape[1:] != tuple(round(size * 0.5) for size in shape):
            raise FieldFormatError(
                f"{path}: the field has grid {field.shape[1:]} but the fixed image has {tuple(shape)} "
                "(half of it is accepted too)."
            )
        factors = tuple(full / half for full, half in zip(shape, field.shape[1:], strict=True))
        field = _zoom(field.astype(np.float32), factors)
        notes = ("half-resolution field, enlarged with spline order 2; values are full-resolution voxels",)
    if not np.isfinite(field).all():
        raise FieldFormatError(f"{path}: the field holds NaN or infinite values.")
    return Field(
        np.ascontiguousarray(field, dtype=np.float32),
        affine,
        notes,
        path,
        placed=bool((affine != np.eye(4)).any()),
    )


def _zoom(field: NDArray[Any], factors: tuple[float, ...]) -> NDArray[Any]:
    """Resize each component with the official spline order; values are not rescaled.

    Deviation: the official code leaves scipy's mode "constant", which by rounding sets some border voxels to
        zero.
    """
    zoom: Any = ndimage.zoom  # scipy's type stubs do not know a factor per axis
    resized = [zoom(component, factors, order=ORDER, mode="nearest") for component in field]
    return np.stack(resized)


def _checked_3d(displacement: NDArray[np.floating], path: Path) -> NDArray[np.float64]:
    field = checked_displacement(displacement, path)
    if field.ndim != 4:
        raise FieldFormatError(f"{path}: Learn2Reg fields are 3-D, (3, X, Y, Z); this is {field.shape}.")
    return field


def _save_npz(path: Path, array: NDArray[np.floating]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, array)
    return path


def _load_npz(path: Path) -> NDArray[np.floating]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            if len(archive.files) != 1:
                raise FieldFormatError(
                    f"{path}: holds {len(archive.files)} arrays; a Learn2Reg field is exactly one."
                )
            return np.asarray(archive[archive.files[0]])
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} cannot be read, it may be damaged or truncated: {error}") from error


def _load_nifti(path: Path) -> tuple[NDArray[np.floating], NDArray[np.float64]]:
    image = load_nibabel(path)
    if len(image.shape) == 5:
        raise FieldFormatError(
            f"{path}: shape {image.shape} looks like an ITK field in mm: read it with format itk."
        )
    try:
        return np.asarray(image.dataobj), geometry_of(image, ndim=3, name=str(path)).affine
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{path} is damaged or truncated: {error}") from error
