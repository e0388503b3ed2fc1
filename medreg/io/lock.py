"""One writer at a time: a lock that the operating system releases when its holder dies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@contextmanager
def exclusive(path: Path) -> Iterator[bool]:
    """Hold a lock on a file while the block runs, waiting for another holder.

    Args:
        path: the file; made if need be, and left behind.

    Yields:
        whether the lock is held. Where the system or the file system has no locks, the block runs without.
    """
    with path.open("a", encoding="utf-8") as file:
        held = False
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                held = True
            except OSError:  # some network file systems
                held = False
        yield held
