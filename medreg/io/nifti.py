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
from medreg.io.memory import check_size

BLOCK = 1 << 20  # bytes of a file that are taken at once
MOST = 1 << 24  # bytes that a block may become at once
SLACK = 1 << 26  # bytes behind the voxels that are read for the sake of the checksum
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


def geometry_of(image: Any, *, ndim: int, name: str) -> Geometry:
    """Return the repaired geometry of an opened nibabel image.

    Raises:
        DataError: voxel size or origin that no image can have; `name` is the file, for the message.
    """
    if isinstance(image.header, Nifti1Header):
        return resolve_geometry(_stored_header(image), ndim=ndim, name=name)
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
    stored = file.stat().st_size - (0 if packed else data.offset)
    check_size(name, total, stored=stored, packed=packed, held=2 * count)
    start = data.offset + count * (frame or 0)
    if file.suffix in (".gz", ".mgz"):
        raw = _inflated(file, start, start + count, end=data.offset + total)
    elif packed:
        return np.asanyarray(data if frame is None else data[..., frame])
    else:
        raw = np.fromfile(file, dtype=np.uint8, count=count, offset=start)
    array = raw.view(data.dtype).reshape(shape, order="F")
    array = apply_read_scaling(array, data.slope, data.inter)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _inflated(file: Path, start: int, stop: int, *, end: int) -> NDArray[np.uint8]:
    """Return bytes `start` to `stop` of what a gzip file holds, having checked all of its members.

    Python's gzip module would take five times as long.

    Raises:
        zlib.error: damaged.
        EOFError: truncated, or much longer than its `end` by the header.
    """
    raw = np.empty(stop - start, dtype=np.uint8)
    position, member = 0, _member()
    with file.open("rb") as stream:
        while block := stream.read(BLOCK):
            while block:
                if member.eof:
                    block = block.lstrip(b"\0")  # some writers fill the last block of a disk
                    member = _member() if block else member
                    continue
                piece = member.decompress(block, MOST)
                _put(raw, piece, position - start)
                position += len(piece)
                block = member.unused_data if member.eof else member.unconsumed_tail
                if position > end + SLACK:
                    raise EOFError("it holds far more than its header says")
    if not member.eof:
        raise EOFError("it ends before its checksum")
    if position < stop:
        raise EOFError("it holds less than its header says")
    return raw


def _member() -> Any:
    return zlib.decompressobj(zlib.MAX_WBITS | 16)


def _put(raw: NDArray[np.uint8], piece: bytes, at: int) -> None:
    """Copy the part of a piece that falls into the array, whose first byte is that of the piece at −`at`."""
    first, last = max(at, 0), min(at + len(piece), raw.size)
    if first < last:
        raw[first:last] = np.frombuffer(piece, dtype=np.uint8)[first - at : last - at]


def _stored_header(image: Any) -> Nifti1Header:
    """Return the header as it is in the file; nibabel mends negative sizes and codes on opening."""
    holder = image.file_map.get("header", image.file_map["image"])
    if holder.filename is None:
        return image.header
    with holder.get_prepare_fileobj("rb") as stream:
        return type(image.header).from_fileobj(stream, check=False)
