"""Open files with nibabel: the header first, then the voxels, read to the end so that checksums speak."""

from __future__ import annotations

import math
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.arrayproxy import ArrayProxy
from nibabel.filebasedimages import ImageFileError
from nibabel.nifti1 import Nifti1Header
from nibabel.spatialimages import HeaderDataError
from nibabel.volumeutils import apply_read_scaling
from numpy.typing import NDArray

from medreg.errors import DataError
from medreg.io.forms import check_placement
from medreg.io.header import Geometry, column_norms, resolve_geometry
from medreg.io.inflate import inflate
from medreg.io.memory import check_size

DAMAGE = (OSError, EOFError, ValueError, zlib.error)


def load_nibabel(path: Path) -> Any:
    """Open a file with nibabel, reading only its header.

    Raises:
        DataError: not an image, or a damaged header.
    """
    try:
        return nib.load(path)
    except (ImageFileError, HeaderDataError, OverflowError, *DAMAGE) as error:
        raise DataError(
            f"{path} cannot be read as an image, it may be damaged or truncated: {error}"
        ) from error


def geometry_of(image: Any, *, ndim: int, name: str, stored: bool = True) -> Geometry:
    """Return the repaired geometry of an opened nibabel image, by the header of its file or, not `stored`, its own.

    Raises:
        DataError: voxel size or origin that no image can have; `name` is the file, for the message.
    """
    if isinstance(image.header, Nifti1Header):
        return resolve_geometry(_stored_header(image) if stored else image.header, ndim=ndim, name=name)
    affine = check_placement(np.asarray(image.affine, dtype=np.float64), name)
    return Geometry(affine, tuple(float(value) for value in column_norms(affine)[:ndim]))


def read_voxels(image: Any, name: str, *, frame: int | None = None) -> NDArray[Any]:
    """Return the voxels of an opened image, first axis fastest: as stored, unless the header scales them.

    A compressed file is read to its end even if one frame is wanted: only there stands its checksum.

    Args:
        image: as `load_nibabel` opened it.
        name: the file, for messages.
        frame: 0-based index along the fourth axis; None for all.

    Raises:
        DataError: colours or complex numbers, a damaged or truncated file, or one larger than memory.
    """
    dtype = image.get_data_dtype()
    if dtype.kind not in "biuf":
        raise DataError(f"{name}: voxels of type {dtype} (colour or complex) are not supported.")
    file = image.file_map["image"].filename
    if file is None or not isinstance(image.dataobj, ArrayProxy):
        whole = np.asanyarray(image.dataobj)
        return whole if frame is None else whole[..., frame]
    try:
        return _from_file(image.dataobj, Path(file), name, frame)
    except DAMAGE as error:
        raise DataError(f"{name} is damaged or truncated: {error}") from error


def _from_file(data: ArrayProxy, file: Path, name: str, frame: int | None) -> NDArray[Any]:
    shape = tuple(data.shape) if frame is None else tuple(data.shape[:3])
    if min(data.shape, default=1) < 1:
        raise DataError(f"{name}: its header says a shape of {data.shape}, which holds no voxel.")
    count = data.dtype.itemsize * math.prod(shape)
    total = data.dtype.itemsize * math.prod(data.shape)
    packed = file.suffix in (".gz", ".mgz", ".bz2", ".zst")
    stored = file.stat().st_size - (0 if packed else min(data.offset, file.stat().st_size))
    check_size(name, total, stored=stored, packed=packed, held=2 * count)
    start = data.offset + count * (frame or 0)
    if file.suffix in (".gz", ".mgz"):
        with file.open("rb") as stream:
            raw = inflate(stream, start=start, stop=start + count, end=data.offset + total)
    elif packed:
        return np.asanyarray(data if frame is None else data[..., frame])
    else:
        raw = np.fromfile(file, dtype=np.uint8, count=count, offset=start)
    array = raw.view(data.dtype).reshape(shape, order="F")
    array = apply_read_scaling(array, data.slope, data.inter)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _stored_header(image: Any) -> Nifti1Header:
    """Return the header as it is in the file; nibabel mends negative sizes and codes on opening."""
    holder = image.file_map.get("header", image.file_map["image"])
    if holder.filename is None:
        return image.header
    with holder.get_prepare_fileobj("rb") as stream:
        return type(image.header).from_fileobj(stream, check=False)
