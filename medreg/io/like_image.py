"""Maps on the voxels of an image, written with the header of its file: every tool puts both in one place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from numpy.typing import NDArray

from medreg.errors import DataError
from medreg.io.atomic import replacing
from medreg.io.image import NIFTI_SUFFIXES, Volume, write_image
from medreg.io.nifti import load_nibabel

CODES = (np.uint8, np.uint16, np.int16, np.int32)  # the first that holds all codes is taken


def write_labels_like(path: str | Path, array: NDArray[Any], image: Volume) -> Path:
    """Write label codes on the voxels of an image, in the smallest type that holds them.

    Args:
        path: destination ending in .nii or .nii.gz; its folder is made.
        array: in the shape of the image, or with frames last.
        image: whose file, where it is NIfTI, gives sform, qform, their codes and the units; else its affine does.

    Raises:
        DataError: another suffix, or codes beyond 32 bits.
    """
    low, high = int(np.min(array, initial=0)), int(np.max(array, initial=0))
    fitting = [t for t in CODES if np.iinfo(t).min <= low and high <= np.iinfo(t).max]
    if not fitting:
        raise DataError(f"{path}: labels from {low} to {high} do not fit 32-bit integers.")
    return _write(Path(path), array.astype(fitting[0]), image)


def write_map_like(path: str | Path, array: NDArray[Any], image: Volume) -> Path:
    """Write numbers on the voxels of an image as float32; otherwise as `write_labels_like`."""
    return _write(Path(path), array.astype(np.float32), image)


def _write(path: Path, array: NDArray[Any], image: Volume) -> Path:
    header = _header_of(image)
    if header is None:
        return write_image(path, array, image.affine, dtype=array.dtype)
    if not path.name.endswith(NIFTI_SUFFIXES):
        raise DataError(f"{path}: images are written as .nii or .nii.gz; change the name.")
    header.set_data_dtype(array.dtype)
    header.set_slope_inter(1, 0)
    header["cal_min"] = header["cal_max"] = 0  # the window in which viewers show grey values
    header["descrip"] = b""
    with replacing(path) as part:
        nib.save(nib.Nifti1Image(array, None, header), part)
    return path


def _header_of(image: Volume) -> Nifti1Header | None:
    """A copy of the header of the image's file; None where it is no NIfTI-1 file."""
    if image.path is None or not image.path.name.endswith(NIFTI_SUFFIXES) or not image.path.is_file():
        return None
    header = load_nibabel(image.path).header
    known = isinstance(header, Nifti1Header) and not isinstance(header, Nifti2Header)
    return header.copy() if known else None
