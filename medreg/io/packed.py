"""Check the packed voxels of MetaImage and NRRD files, whose checksums their reader passes over."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import BinaryIO

from medreg.errors import DataError
from medreg.io.inflate import inflate

HEADER_LIMIT = 1 << 20  # bytes; no header of text is longer
DAMAGE = (OSError, EOFError, ValueError, zlib.error)


def check_packed(path: Path, *, size: int) -> None:
    """Unpack the voxels of a compressed file once and compare its checksum; others pass.

    Args:
        path: .mha, .mhd, .nrrd or .nhdr.
        size: bytes of the voxels by the header.

    Raises:
        DataError: damaged or truncated.
    """
    try:
        with path.open("rb") as stream:
            fields = _fields(stream)
            packed = fields.get("compresseddata") == "true" or fields.get("encoding") in ("gzip", "gz")
            data = (
                fields.get("elementdatafile") or fields.get("data file") or fields.get("datafile") or "local"
            )
            if not packed or data == "list" or "%" in data:  # several files: their reader has the word
                return
            if data == "local":
                inflate(stream, start=0, stop=0, end=size)
                return
        with (path.parent / data).open("rb") as stream:
            inflate(stream, start=0, stop=0, end=size)
    except DAMAGE as error:
        raise DataError(f"{path} is damaged or truncated: {error}") from error


def _fields(stream: BinaryIO) -> dict[str, str]:
    """Return the header as lower-case words, leaving the stream where data would begin."""
    found: dict[str, str] = {}
    while (line := stream.readline(HEADER_LIMIT)) and stream.tell() < HEADER_LIMIT:
        text = line.decode("latin-1").strip()
        if not text:
            break  # a blank line ends the header of NRRD
        name, _, value = text.partition("=" if "=" in text and ":" not in text.partition("=")[0] else ":")
        key, value = name.strip().lower(), value.strip()
        names_file = key.endswith("file") and value.lower() not in ("local", "list")
        found[key] = value if names_file else value.lower()
        if key == "elementdatafile":
            break  # the last line of MetaImage
    return found
