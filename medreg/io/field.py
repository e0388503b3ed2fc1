"""Displacement fields on disk: one reader that tells the formats apart, and the writers by name.

| format | on disk | unit and frame | who reads it |
| --- | --- | --- | --- |
| ITK (`write_itk_field`) | (X, Y, Z, 1, 3), intent 1007 | mm, LPS | SimpleITK, ANTs, elastix, Slicer |
| Learn2Reg (`write_learn2reg_field`) | (X, Y, Z, 3), NIfTI or `.npz` | voxels, index to index | Learn2Reg evaluation |
| the same with the affine kept | (X, Y, Z, 3), `affine=` | voxels of the fixed grid | `read_displacement` |
| NiftyReg, SPM `y_` | (X, Y, Z, 1, 3), by intent name | mm, RAS | read and converted |
| transforms of ITK | .h5, .tfm, … | – | read and sampled on the fixed grid |

Files of FSL, AFNI and MRtrix are refused by name.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medreg.errors import FieldFormatError
from medreg.io.field_itk import read_itk_field, write_itk_field
from medreg.io.field_learn2reg import (
    read_learn2reg_field,
    write_learn2reg_field,
    write_learn2reg_half_field,
)
from medreg.io.field_transform import is_transform, read_transform
from medreg.io.foreign import is_foreign
from medreg.io.header import right_angled
from medreg.io.image import NIFTI_SUFFIXES, Volume, existing_file
from medreg.io.nifti import load_nibabel
from medreg.io.vectors import Field, index_field_to_world, lps_mm_to_voxel, voxel_to_lps_mm

__all__ = [
    "Field",
    "index_field_to_world",
    "lps_mm_to_voxel",
    "read_displacement",
    "read_itk_field",
    "read_learn2reg_field",
    "voxel_to_lps_mm",
    "write_field",
    "write_itk_field",
    "write_learn2reg_field",
    "write_learn2reg_half_field",
]


def write_field(path: str | Path, displacement: NDArray[np.floating], affine: NDArray[np.float64]) -> Path:
    """Write a voxel displacement as an ITK field; on a skewed grid, which ITK lacks, in voxels with its affine.

    `read_displacement` and with it `medreg warp` read both; ITK takes the second for no field, rather than for a wrong
    one.

    Args:
        path: destination, .nii or .nii.gz.
        displacement: (3, X, Y, Z), or (2, X, Y) for a 2-D image file; voxels of the fixed grid, pull.
        affine: (4, 4) of the fixed grid, voxel → RAS mm.

    Raises:
        FieldFormatError: wrong shape or NaN.
    """
    if right_angled(affine):
        return write_itk_field(path, displacement, affine)
    if displacement.shape[0] == 2:
        displacement = np.concatenate([displacement, np.zeros_like(displacement[:1])])[..., np.newaxis]
    return write_learn2reg_field(path, displacement, affine=affine)


def read_displacement(
    path: str | Path, *, shape: tuple[int, ...] | None = None, reference: Volume | None = None
) -> Field:
    """Read a displacement field in whichever format it is stored, told by axes and suffix.

    Args:
        path: NIfTI, MetaImage, NRRD or `.npz`; or a transform of ITK (.h5, .tfm, .mat, .txt, .xfm).
        shape: grid of the fixed image, needed for half-resolution Learn2Reg files only.
        reference: the fixed image, on whose grid a transform is sampled.

    Returns:
        The field in voxels of its grid. For a Learn2Reg file without an affine the grid is that of the fixed
        image.

    Raises:
        FieldFormatError: not a displacement field.
        DataError: missing or damaged file.
    """
    path = existing_file(path)
    if is_transform(path):
        place = (None, None) if reference is None else (reference.shape, reference.affine)
        return read_transform(path, *place)
    if path.suffix == ".npz":
        return read_learn2reg_field(path, shape=shape)
    if not is_foreign(path) and not path.name.endswith(NIFTI_SUFFIXES):
        raise FieldFormatError(
            f"{path}: fields are read from NIfTI, MetaImage, NRRD and .npz files, transforms of ITK from .h5, .tfm, "
            ".mat, .txt and .xfm; convert it with the program that wrote it."
        )
    if is_foreign(path) or len(load_nibabel(path).shape) != 4:
        return read_itk_field(path)
    return read_learn2reg_field(path, shape=shape)
