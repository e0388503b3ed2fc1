"""Transforms of ITK (.h5, .tfm, .mat, .txt, .xfm) as displacement fields on the grid of the fixed image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medreg.errors import FieldFormatError, MissingExtra
from medreg.io.field_itk import field_of_itk
from medreg.io.foreign import LPS, simpleitk
from medreg.io.header import right_angled
from medreg.io.image import existing_file
from medreg.io.vectors import Field

TRANSFORM_SUFFIXES = (".h5", ".hdf5", ".tfm", ".mat", ".txt", ".xfm", ".lta", ".x5")
BY_HAND = "make a field of it, for instance with antsApplyTransforms -r FIXED -t FILE -o [field.nii.gz,1]"


def is_transform(path: str | Path) -> bool:
    """Say whether a file holds a transform rather than a field, by its suffix."""
    return Path(path).name.lower().endswith(TRANSFORM_SUFFIXES)


def read_transform(
    path: str | Path, shape: tuple[int, ...] | None, affine: NDArray[np.float64] | None
) -> Field:
    """Read a transform and sample it on a grid.

    Args:
        path: linear, B-spline, field or composite transform that SimpleITK reads, from fixed to moving points.
        shape: array shape of the fixed image, (X, Y) or (X, Y, Z); None where none was given.
        affine: (4, 4) voxel → RAS mm of the fixed image.

    Raises:
        FieldFormatError: no fixed image, one that ITK cannot hold, or a file that is no ITK transform.
        MissingExtra: SimpleITK is not installed.
    """
    path = existing_file(path)
    if shape is None or affine is None:
        raise FieldFormatError(
            f"{path} is a transform without a grid: give --reference FIXED, the fixed image."
        )
    if not right_angled(affine):
        raise FieldFormatError(
            f"{path}: the fixed image has skewed axes, on which ITK samples no transform; resample it first."
        )
    try:
        sitk = simpleitk(f"Reading the transform {path}")
    except MissingExtra as error:
        raise MissingExtra(f"{error}. Or {BY_HAND}.") from error
    try:
        transform = sitk.ReadTransform(str(path))
    except RuntimeError as error:
        raise FieldFormatError(
            f"{path} cannot be read as a transform of ITK (FLIRT's, elastix', FreeSurfer's and MATLAB's files are "
            f"others: c3d_affine_tool -fsl2ras -oitk, transformix -def all and lta_convert --outitk convert them); "
            f"{BY_HAND}."
        ) from error
    size = _size(transform.GetDimension(), shape, affine, path)
    made = _sampled(sitk, transform, size, affine)
    note = f"transform of ITK ({transform.GetName()}) sampled on the grid of the fixed image"
    return field_of_itk(made, path, (note,))


def _size(ndim: int, shape: tuple[int, ...], affine: NDArray[np.float64], path: Path) -> list[int]:
    """Return the size of the grid, as many axes as the transform has."""
    size = [*shape, 1][:3] if ndim == 3 else list(shape)
    flat = np.abs(affine[2, :2]).max() < 1e-6 * np.abs(affine[:2, :2]).max()
    if ndim == 2 and len([n for n in size if n > 1]) == 2 and size[2:] in ([], [1]) and flat:
        return size[:2]
    if ndim != 3:
        raise FieldFormatError(
            f"{path}: a transform of {ndim} dimensions does not fit an image of shape {shape}."
        )
    return size


def _sampled(sitk: Any, transform: Any, size: list[int], affine: NDArray[np.float64]) -> Any:
    ndim = len(size)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    direction, origin = LPS @ affine[:3, :3] / spacing, LPS @ affine[:3, 3]
    return sitk.TransformToDisplacementField(
        transform,
        sitk.sitkVectorFloat64,
        size,
        origin[:ndim].tolist(),
        spacing[:ndim].tolist(),
        direction[:ndim, :ndim].ravel().tolist(),
    )
