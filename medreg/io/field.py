"""Displacement fields on disk: one reader that tells the formats apart, and the writers by name.

| format | on disk | unit and frame | who reads it |
| --- | --- | --- | --- |
| ITK (`write_itk_field`) | (X, Y, Z, 1, 3), intent 1007 | mm, LPS | SimpleITK, ANTs, elastix, Slicer |
| Learn2Reg (`write_learn2reg_field`) | (X, Y, Z, 3), `.nii.gz` or `.npz` | voxels, index to index |
Learn2Reg evaluation | | the same with the affine kept | (X, Y, Z, 3) with `affine=` | voxels of the fixed
grid | `read_displacement` |
"""

from __future__ import annotations

from pathlib import Path

from medreg.io.field_itk import read_itk_field, write_itk_field
from medreg.io.field_learn2reg import (
    read_learn2reg_field,
    write_learn2reg_field,
    write_learn2reg_half_field,
)
from medreg.io.foreign import is_foreign
from medreg.io.image import existing_file
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
    "write_itk_field",
    "write_learn2reg_field",
    "write_learn2reg_half_field",
]


def read_displacement(path: str | Path, *, shape: tuple[int, ...] | None = None) -> Field:
    """Read a displacement field in whichever format it is stored, told by axes and suffix.

    Args:
        path: NIfTI, MetaImage, NRRD or `.npz`.
        shape: grid of the fixed image, needed for half-resolution Learn2Reg files only.

    Returns:
        The field in voxels of its grid. For a Learn2Reg file without an affine the grid is that of the fixed
        image.

    Raises:
        FieldFormatError: not a displacement field.
        DataError: missing or damaged file.
    """
    path = existing_file(path)
    if path.suffix == ".npz":
        return read_learn2reg_field(path, shape=shape)
    if is_foreign(path) or len(load_nibabel(path).shape) != 4:
        return read_itk_field(path)
    return read_learn2reg_field(path, shape=shape)
