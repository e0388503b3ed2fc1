"""Images and label maps: read with a repaired affine, written so that every tool agrees on the geometry."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from medreg.errors import DataError
from medreg.io.atomic import replacing
from medreg.io.foreign import is_foreign, read_foreign
from medreg.io.forms import is_usable
from medreg.io.frames import frame_names
from medreg.io.header import Geometry, right_angled
from medreg.io.labels import exact_labels, exact_mask
from medreg.io.nifti import geometry_of, load_nibabel, read_voxels

NIFTI_SUFFIXES = (".nii", ".nii.gz")


@dataclass(frozen=True)
class Volume:
    """An image or label map with its place in the world.

    Attributes:
        array: (X, Y) or (X, Y, Z), C-contiguous, axis order of the file. A one-slice file of three axes
            stays (X, Y, 1).
        affine: (4, 4) float64, voxel index → RAS mm; for a 2-D file the third column is the slice normal.
        spacing_mm: voxel size per array axis, mm.
        notes: what was contradictory in the header and how it was resolved; empty for a sane file.
        path: the file, None for an array made in memory.
    """

    array: NDArray[Any]
    affine: NDArray[np.float64]
    spacing_mm: tuple[float, ...]
    notes: tuple[str, ...] = ()
    path: Path | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the array shape."""
        return tuple(self.array.shape)


def read_image(path: str | Path, *, frame: int | None = None, dtype: Any = np.float32) -> Volume:
    """Read an image (.nii, .nii.gz; .mha, .mhd, .nrrd with SimpleITK installed).

    Args:
        path: the file.
        frame: 0-based index along the fourth axis of a cine or multi-channel file; only that frame is kept
            in memory. Not needed where the fourth axis has length one.
        dtype: type of the returned array; None for that of the file.

    Raises:
        DataError: the file is missing, truncated, not an image, or has several frames and none was chosen.
        MissingExtra: a MetaImage or NRRD file without SimpleITK.
    """
    path = existing_file(path)
    array, geometry = (
        read_foreign(path, frame=frame)
        if is_foreign(path)
        else select_image(load_nibabel(path), str(path), frame=frame)
    )
    try:
        with np.errstate(over="raise"):
            # nibabel hands out Fortran-ordered arrays; make them contiguous once, here.
            kept = np.ascontiguousarray(array, dtype=dtype)
    except FloatingPointError as error:
        raise DataError(
            f"{path}: values up to {float(np.abs(array).max()):.3g}, beyond what {np.dtype(dtype)} holds; "
            "scale the image and save it again."
        ) from error
    return Volume(kept, geometry.affine, geometry.spacing_mm, geometry.notes, path)


def read_labels(path: str | Path, *, frame: int | None = None) -> Volume:
    """Read a label map as int32, exactly; labels stored as floating point are rounded.

    Raises:
        DataError: see `medreg.io.labels.exact_labels`: this is an image, or its codes are too large.
    """
    volume = read_image(path, frame=frame, dtype=None)
    return replace(volume, array=exact_labels(volume.array, str(path)))


def read_mask(path: str | Path, *, frame: int | None = None) -> Volume:
    """Read a mask as uint8: 1 where the file is above 0, 0 elsewhere.

    Raises:
        DataError: see `medreg.io.labels.exact_mask`: fractions, which do not say where the mask ends.
    """
    volume = read_image(path, frame=frame, dtype=None)
    return replace(volume, array=exact_mask(volume.array, str(path)))


def write_image(
    path: str | Path, array: NDArray[Any], affine: NDArray[np.float64], *, dtype: Any = np.float32
) -> Path:
    """Write an array as NIfTI with equal sform, qform and zooms; complete or not at all.

    Args:
        path: destination ending in .nii or .nii.gz; its folder is made.
        array: (X, Y), (X, Y, Z) or with frames last.
        affine: (4, 4) voxel index → RAS mm.
        dtype: type on disk.

    Raises:
        DataError: the suffix is not NIfTI, or the affine is singular.
    """
    image = nib.Nifti1Image(np.asarray(array, dtype=dtype), checked_affine(affine, path))
    return save_nifti(path, image)


def write_labels(path: str | Path, array: NDArray[Any], affine: NDArray[np.float64]) -> Path:
    """Write an integer label map in the smallest of uint8, int16 and int32 that holds its values."""
    low, high = int(np.min(array, initial=0)), int(np.max(array, initial=0))
    fitting = [
        t for t in (np.uint8, np.int16, np.int32) if np.iinfo(t).min <= low and high <= np.iinfo(t).max
    ]
    if not fitting:
        raise DataError(f"{path}: labels from {low} to {high} do not fit 32-bit integers.")
    return write_image(path, array, affine, dtype=fitting[0])


def frame_count(path: str | Path) -> int:
    """Return the length of the fourth axis of a NIfTI file, from its header; 1 for 2-D and 3-D files."""
    shape = load_nibabel(existing_file(path)).shape
    return int(shape[3]) if len(shape) > 3 else 1


def existing_file(path: str | Path) -> Path:
    """Return the path of an existing file.

    Raises:
        DataError: naming the file, and the folder if that is missing too.
    """
    path = Path(path)
    if path.is_file():
        return path
    reason = "is a folder, not a file" if path.is_dir() else "does not exist"
    folder = "" if path.parent.is_dir() else f" (nor does its folder {path.parent})"
    raise DataError(f"{path} {reason}{folder}. Check the path.")


def checked_affine(affine: NDArray[np.float64], path: str | Path) -> NDArray[np.float64]:
    """Return an affine as float64 (4, 4) after checking that it is finite and invertible."""
    affine = np.asarray(affine, dtype=np.float64)
    if affine.shape != (4, 4) or not is_usable(affine):
        raise DataError(f"{path}: the affine to write is not a finite, invertible 4×4 matrix:\n{affine}")
    return affine


def save_nifti(path: str | Path, image: nib.Nifti1Image) -> Path:
    """Save an image with equal sform and qform, through a temporary file: a kill leaves no half file."""
    path = Path(path)
    if not path.name.endswith(NIFTI_SUFFIXES):
        raise DataError(f"{path}: images are written as .nii or .nii.gz; change the name.")
    image.header.set_sform(image.affine, code=1)
    # Other tools would take the qform of a skewed grid, so that the file would lie in two places.
    if right_angled(image.affine):
        image.header.set_qform(image.affine, code=1)
    image.header.set_xyzt_units("mm")
    with replacing(path) as part:
        nib.save(image, part)
    return path


def select_image(
    image: Any, name: str, *, frame: int | None = None, stored: bool = True
) -> tuple[NDArray[Any], Geometry]:
    """Return array and geometry of an opened nibabel image of 2 or 3 axes, or of one frame of it.

    Args:
        image: of nibabel.
        name: the file or argument, for messages.
        frame: 0-based index along the fourth axis.
        stored: whether the header of the file counts rather than that in memory, which may have been changed.

    Raises:
        DataError: see `read_image`.
    """
    shape = image.shape
    if (len(shape) > 4 and any(size > 1 for size in shape[4:])) or len(shape) < 2:
        raise DataError(
            f"{name}: shape {shape} is not that of an image (2, 3 or 4 axes); is it a displacement field?"
        )
    count = int(shape[3]) if len(shape) > 3 else 1
    if frame is None and count > 1:
        raise DataError(
            f"{name}: has {count} frames (fourth axis), where one image is wanted; name one of them: "
            f"{frame_names(name, count)}."
        )
    if not 0 <= (frame or 0) < count:
        raise DataError(f"{name}: frame {frame} does not exist; the file has {count} (0 … {count - 1}).")
    array = read_voxels(image, name, frame=frame if count > 1 else None)
    array = array.reshape(shape[:3], order="F")
    return array, geometry_of(image, ndim=array.ndim, name=name, stored=stored)
