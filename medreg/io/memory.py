"""What a file claims to hold, compared with its size and with the memory there is, before any of it is read."""

from __future__ import annotations

import os
from pathlib import Path

from medreg.errors import DataError

DEFLATE_LIMIT = 1100  # gzip and zip make no data more than 1032 times smaller
CGROUP = Path("/sys/fs/cgroup")


def check_size(name: str, claimed: int, *, stored: int, packed: bool, held: int | None = None) -> None:
    """Check that a file can hold what its header claims, and that memory can.

    Args:
        name: the file, for messages.
        claimed: bytes of voxels by the header.
        stored: bytes of the file that can hold them.
        packed: whether they are compressed.
        held: bytes that are needed in memory; default `claimed`.

    Raises:
        DataError: it cannot.
    """
    if claimed > stored * (DEFLATE_LIMIT if packed else 1):
        raise DataError(
            f"{name}: its header says {in_words(claimed)}, but the file has {in_words(stored)}; it is damaged or "
            "truncated. Copy or download it again."
        )
    free, held = available_bytes(), claimed if held is None else held
    if free is not None and held > free:
        raise DataError(
            f"{name}: reading it takes {in_words(held)} of memory, of which {in_words(free)} are free. Is its size "
            "right? If so, crop or resample it first, or take a machine with more memory."
        )


def available_bytes() -> int | None:
    """Return the memory that a process can still get, None where the system does not tell."""
    found = [free for free in (_of_system(), _of_group()) if free is not None]
    return min(found, default=None)


def in_words(count: int) -> str:
    """Return bytes in words, such as 4.7 GB."""
    size = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def _of_system() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return None


def _of_group() -> int | None:
    """Return what the control group of a container leaves; its caches can be given back and count as free."""
    try:
        limit = (CGROUP / "memory.max").read_text(encoding="ascii").strip()
        if limit == "max":
            return None
        used = int((CGROUP / "memory.current").read_text(encoding="ascii"))
        facts = (CGROUP / "memory.stat").read_text(encoding="ascii").splitlines()
        cached = sum(int(line.split()[1]) for line in facts if line.split()[0] == "file")
        return max(int(limit) - used + cached, 0)
    except (OSError, ValueError, IndexError):
        return None
