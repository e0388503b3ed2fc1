"""One writer at a time: a lock that the operating system releases when its holder dies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


@contextmanager
def exclusive(path: Path, *, wait_s: float = -1) -> Iterator[bool]:
    """Hold a lock on a file while the block runs.

    Args:
        path: the lock file; made with its folder if need be, and left behind.
        wait_s: seconds to wait for another holder; negative waits for ever, 0 does not wait.

    Yields:
        whether the lock is held. It is not where another holder outlasts `wait_s`, and where the file system has no
        locks; the block runs all the same.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=wait_s)
    try:
        lock.acquire()
    except (Timeout, NotImplementedError, OSError):  # OSError: some network file systems
        yield False
        return
    try:
        yield True
    finally:
        lock.release()
