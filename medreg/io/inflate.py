"""Unpack gzip and zlib streams to their end, where the checksum stands, never further than a header allows."""

from __future__ import annotations

import zlib
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

BLOCK = 1 << 20  # bytes of a file that are taken at once
MOST = 1 << 24  # bytes that a block may become at once
SLACK = 1 << 26  # bytes behind the wanted ones that are read for the sake of the checksum
EITHER = zlib.MAX_WBITS | 32  # gzip or zlib, told by its first bytes


def inflate(stream: BinaryIO, *, start: int, stop: int, end: int) -> NDArray[np.uint8]:
    """Return bytes `start` to `stop` of what a stream holds, having checked all of it.

    Python's gzip module would take five times as long.

    Args:
        stream: open where the packed bytes begin; gzip streams may have several members.
        start: first unpacked byte that is wanted.
        stop: the one behind the last.
        end: how many unpacked bytes there should be.

    Raises:
        zlib.error: damaged.
        EOFError: truncated, or much longer than `end`.
    """
    raw = np.empty(stop - start, dtype=np.uint8)
    position, member = 0, _member()
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
    if position < end:
        raise EOFError("it holds less than its header says")
    return raw


def _member() -> Any:
    return zlib.decompressobj(EITHER)


def _put(raw: NDArray[np.uint8], piece: bytes, at: int) -> None:
    """Copy the part of a piece that falls into the array, whose first byte is that of the piece at −`at`."""
    first, last = max(at, 0), min(at + len(piece), raw.size)
    if first < last:
        raw[first:last] = np.frombuffer(piece, dtype=np.uint8)[first - at : last - at]
