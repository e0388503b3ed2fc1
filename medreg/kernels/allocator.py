"""Memory that is freed stays with the process: glibc otherwise hands large arrays back to the system.

glibc returns every array above 32 MiB when it is freed, and the system fills it with zeros when it is asked for again.
Training and instance optimisation ask for the same arrays at every step; on a CPU, page faults then take a fifth to a
half of the time of a step with large batches or volumes (docs/performance.md).
"""

from __future__ import annotations

import ctypes
import os
import platform
from contextlib import suppress
from pathlib import Path

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # names of mallopt(3), from glibc's malloc.h
_NEVER = 2**31 - 1  # bytes at the end of the heap
_KIB = 1024  # unit of ru_maxrss on Linux
# of a container, cgroups v2 and v1
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def is_glibc() -> bool:
    """Whether the C library is glibc, whose allocator takes settings."""
    return platform.libc_ver()[0] == "glibc"


def keep_freed_memory() -> bool:
    """Tell the allocator to keep what is freed, for the rest of the process.

    The price is a larger peak, as kept pieces do not always fit what is asked for: 5 to 20 % with 2-D batches, 35 % in
    instance optimisation, up to 65 % with volumes of 128³. The environment variables `MALLOC_MMAP_MAX_=0
    MALLOC_TRIM_THRESHOLD_=2147483647` do the same from outside.

    Returns:
        Whether the allocator took the setting; only glibc's does.
    """
    if not is_glibc():
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all(mallopt(name, value) == 1 for name, value in ((_TRIM_THRESHOLD, _NEVER), (_MMAP_MAX, 0)))


def peak_memory() -> int:
    """Return the largest resident memory of this process so far, bytes; on Linux."""
    import resource  # absent on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KIB


def memory_limit() -> int:
    """Return the memory in bytes that this process may take: the machine's, or its container's if less; on Linux."""
    found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for file in _LIMITS:
        with suppress(OSError, ValueError):  # no such file, or the word "max"
            found.append(int(Path(file).read_text()))
    return min(found)
