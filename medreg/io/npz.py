"""Read `.npz` files of one array of numbers, looking at their directory and header before anything is unpacked."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from medreg.errors import DataError, FieldFormatError
from medreg.io.memory import check_size

Check: TypeAlias = Callable[[tuple[int, ...]], None]
ENCRYPTED = 1  # bit of a member's flags
DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    NotImplementedError,
    RuntimeError,
    SyntaxError,
    zipfile.BadZipFile,
    zlib.error,
)


def read_single_array(path: Path, *, name: str | None = None, check: Check | None = None) -> NDArray[Any]:
    """Return the one array of a file.

    Args:
        path: the file.
        name: what it is called in messages; default its path.
        check: told the shape before anything is unpacked; raises where it cannot be right.

    Raises:
        FieldFormatError: several arrays, or one of text, objects, complex numbers.
        DataError: damaged, encrypted, or larger than its file or memory can hold.
    """
    name = str(path) if name is None else name
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) != 1:
                raise FieldFormatError(f"{name}: holds {len(members)} arrays; a field is exactly one.")
            if members[0].flag_bits & ENCRYPTED:
                raise DataError(f"{name} is encrypted; unpack it with its password and save it without.")
            return _read(archive, members[0], name, check)
    except DAMAGE as error:
        raise DataError(f"{name} cannot be read, it may be damaged or truncated: {error}") from error


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str, check: Check | None) -> NDArray[Any]:
    with archive.open(member) as stream:
        version = npy.read_magic(stream)
        read: Any = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read(stream)
        if dtype.kind not in "biuf":
            raise FieldFormatError(f"{name}: values of type {dtype} are no displacements.")
        if check is not None:
            check(shape)
        claimed = dtype.itemsize * math.prod(shape)
        check_size(name, claimed, stored=member.compress_size, packed=True, held=2 * claimed)
        content = stream.read(claimed + 1)  # one more, so that the end and with it the checksum is reached
    if len(content) != claimed:
        raise EOFError(f"its array should have {claimed} bytes")
    array = np.frombuffer(content, dtype=dtype)
    return array.reshape(shape, order="F" if fortran else "C")
