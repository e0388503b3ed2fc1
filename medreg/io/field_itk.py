"""ITK displacement fields: what SimpleITK, ANTs, elastix and 3D Slicer read and write.

On disk (X, Y, Z, 1, 3), NIfTI intent 1007 (VECTOR), components in LPS mm. A file of the same shape with
intent 1006 (DISPVECT) holds RAS components by ITK's rule, which negates the first two on reading; both are
read here; files of NiftyReg and SPM are converted.

Fields of one slice need care, because ITK drops singleton axes of vector files: (X, Y, 1, 1, 3) is read as a
2-D image of three components, which is no 2-D transform and cannot be applied to a one-slice 3-D file.
- For a truly 2-D image file (X, Y) two components are written, (X, Y, 1, 1, 2): a 2-D transform.
- For a one-slice 3-D file (X, Y, 1) the slice is written twice, (X, Y, 2, 1, 3): a 3-D transform. The
  description in the header marks it, and reading returns one slice.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from medreg.errors import FieldFormatError
from medreg.io.field_foreign import holds_positions, lps_displacements, meaning_of, refuse_foreign
from medreg.io.foreign import is_foreign, itk_affine, read_itk_image
from medreg.io.forms import check_placement
from medreg.io.header import right_angled
from medreg.io.image import checked_affine, existing_file, save_nifti
from medreg.io.nifti import geometry_of, load_nibabel, read_voxels
from medreg.io.vectors import Field, checked_displacement, lps_mm_to_voxel, voxel_to_lps_mm

ONE_SLICE = b"medreg: one slice, written twice"
SPREAD = b"medreg: SD in mm along L, P, S; no field"


def write_itk_field(
    path: str | Path, displacement: NDArray[np.floating], affine: NDArray[np.float64]
) -> Path:
    """Write a voxel displacement as an ITK field (float32).

    Args:
        path: destination, .nii or .nii.gz.
        displacement: (3, X, Y, Z), or (2, X, Y) for a 2-D image file; voxels of the fixed grid, pull.
        affine: (4, 4) of the fixed grid, voxel → RAS mm, as returned by `read_image` of the fixed file.

    Raises:
        FieldFormatError: wrong shape, NaN, or a grid with skewed axes, which no ITK image can have.
    """
    affine = checked_affine(affine, path)
    if not right_angled(affine):
        raise FieldFormatError(
            f"{path}: the grid has skewed axes, which ITK cannot represent; resample the fixed image to an "
            "orthogonal grid, or write the field as Learn2Reg voxels."
        )
    field = checked_displacement(displacement, path)
    return save_nifti(path, _vectors_on_disk(voxel_to_lps_mm(field, affine), affine, description=None))


def write_spread(path: str | Path, sd_mm: NDArray[np.floating], affine: NDArray[np.float64]) -> Path:
    """Write the standard deviation of a displacement as an image of vectors (float32), laid out as its ITK field is.

    Standard deviations have no sign and are no displacements: `read_itk_field` refuses the file. On a skewed grid,
    which ITK lacks, the components are frames, (X, Y, Z, 3).

    Args:
        path: destination, .nii or .nii.gz.
        sd_mm: (3, X, Y, Z), or (3, X, Y) for a 2-D image file; mm along the world axes L, P and S.
        affine: (4, 4) of the fixed grid, voxel → RAS mm.

    Raises:
        FieldFormatError: wrong shape, NaN, or a negative value.
    """
    affine, sd = checked_affine(affine, path), np.asarray(sd_mm, dtype=np.float64)
    if sd.ndim not in (3, 4) or len(sd) != 3 or not (sd >= 0).all():
        raise FieldFormatError(
            f"{path}: standard deviations have shape (3, X, Y) or (3, X, Y, Z) and none below 0; this is {sd.shape} "
            f"with {int((~(sd >= 0)).sum())} values that are negative or NaN."
        )
    if not right_angled(affine):
        frames = np.moveaxis(sd.reshape(3, *sd.shape[1:], *(1,) * (4 - sd.ndim)), 0, -1)
        image = nib.Nifti1Image(frames.astype(np.float32), affine)
        image.header["descrip"] = SPREAD
        return save_nifti(path, image)
    return save_nifti(path, _vectors_on_disk(sd, affine, description=SPREAD))


def _vectors_on_disk(
    mm: NDArray[np.float64], affine: NDArray[np.float64], *, description: bytes | None
) -> Any:
    """Return world vectors (3, X, Y[, Z]) as the NIfTI image that ITK reads on the grid of the fixed file."""
    planar = mm.ndim == 3
    if planar and _is_axial(affine):
        image = _vector_image(np.moveaxis(mm[:2], 0, -1)[:, :, None, None, :], affine)
    elif planar or mm.shape[-1] == 1:
        slab = np.moveaxis(mm.reshape(3, *mm.shape[1:3], 1), 0, -1)[:, :, :, None, :]
        image = _vector_image(np.repeat(slab, 2, axis=2), affine)
        image.header["descrip"] = ONE_SLICE
    else:
        image = _vector_image(np.moveaxis(mm, 0, -1)[:, :, :, None, :], affine)
    if description is not None:
        image.header["descrip"] = description
    return image


def read_itk_field(path: str | Path) -> Field:
    """Read an ITK field: NIfTI of ours, SimpleITK, ANTs or Slicer (intent 1007, or 1006), or .mha/.nrrd.

    Raises:
        FieldFormatError: not a vector field by shape or intent; the message says what it looks like instead.
        DataError: missing or damaged file.
    """
    path = existing_file(path)
    if is_foreign(path):
        return field_of_itk(read_itk_image(path), path)
    image = load_nibabel(path)
    shape = image.shape
    refuse_foreign(image, path)
    if bytes(image.header["descrip"].item()).rstrip(b"\0") == SPREAD:
        raise FieldFormatError(
            f"{path}: standard deviations of a displacement (mm) are no displacement to apply."
        )
    if len(shape) != 5 or shape[3] != 1 or shape[4] not in (2, 3):
        raise FieldFormatError(
            f"{path}: shape {shape} is not that of an ITK field (X, Y, Z, 1, 3).{_hint(shape)}"
        )
    meaning = meaning_of(image.header, path)
    components = np.moveaxis(read_voxels(image, str(path)).astype(np.float64)[:, :, :, 0, :], -1, 0)
    if bytes(image.header["descrip"].item()).rstrip(b"\0") == ONE_SLICE:
        components = components[:, :, :, :1]
    geometry = geometry_of(image, ndim=3, name=str(path))
    components = lps_displacements(components, meaning, geometry, image.header, path)
    return _field(path, components, geometry.affine, meaning.notes + geometry.notes)


def _field(
    path: Path, lps_mm: NDArray[np.float64], affine: NDArray[np.float64], notes: tuple[str, ...]
) -> Field:
    """Return the voxel field of LPS mm components (2 or 3, X, Y, Z)."""
    planar = len(lps_mm) == 2
    if planar:
        lps_mm = np.concatenate([lps_mm, np.zeros_like(lps_mm[:1])])
    if not np.isfinite(lps_mm).all():
        raise FieldFormatError(f"{path}: the field holds NaN or infinite values.")
    voxel = lps_mm_to_voxel(lps_mm, affine)
    voxel = voxel[:2, :, :, 0] if planar else voxel
    return Field(np.ascontiguousarray(voxel, dtype=np.float32), affine, notes, path)


def field_of_itk(image: Any, path: Path, notes: tuple[str, ...] = ()) -> Field:
    """Return the voxel field of a SimpleITK image of vectors, LPS mm.

    Raises:
        FieldFormatError: another number of components than axes, positions, NaN.
    """
    ndim, components = image.GetDimension(), image.GetNumberOfComponentsPerPixel()
    if components != ndim or ndim not in (2, 3):
        raise FieldFormatError(f"{path}: {components} components on a {ndim}-D grid are not a displacement.")
    import SimpleITK as sitk

    array = sitk.GetArrayFromImage(image).astype(np.float64)  # (Z, Y, X, components)
    lps = np.moveaxis(array, -1, 0).transpose(0, *range(ndim, 0, -1))
    lps, affine = lps.reshape(*lps.shape, *(1,) * (3 - ndim)), check_placement(itk_affine(image), str(path))
    if not notes and holds_positions(lps, affine):
        raise FieldFormatError(
            f"{path}: its vectors grow as positions do; they are places, not displacements."
        )
    return _field(path, lps, affine, notes)


def _vector_image(array: NDArray[np.float64], affine: NDArray[np.float64]) -> Any:
    image = nib.Nifti1Image(array.astype(np.float32), affine)
    image.header.set_intent("vector")
    return image


def _is_axial(affine: NDArray[np.float64]) -> bool:
    """Say whether a 2-D image lies in the x–y plane of the world, the only plane that 2-D ITK images know."""
    return bool(np.abs(affine[2, :2]).max() < 1e-6 * np.abs(affine[:2, :2]).max())


def _hint(shape: tuple[int, ...]) -> str:
    if len(shape) == 4 and 3 in (shape[0], shape[-1]):
        return " It looks like a Learn2Reg field in voxels: read it with format learn2reg."
    if len(shape) in (2, 3):
        return " It looks like an image."
    return ""
