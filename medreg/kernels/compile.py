"""Compilation of kernels when they are first called, and the threads that run them."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import sys
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

# A piece is worth a hand-over to another thread (some 20 µs) from about this many elements on.
_ELEMENTS_A_PIECE = 1 << 15
_PIECES_MAX = 32


class Kernel:
    """A function of loops over NumPy arrays that numba compiles at its first call.

    A kernel may call kernels of its own file: the compiled code is kept on disk beside the file (or in the
    user's cache folder) until that file changes. Where nothing can be written, or the file changed after it
    was imported, it is compiled in every process.

    Attributes:
        python: the function as written, for tests and for reading.
    """

    def __init__(self, function: Callable[..., Any], fastmath: bool | frozenset[str]) -> None:
        functools.update_wrapper(self, function)
        self.python = function
        self._source = _stamp(function.__code__.co_filename)
        self._fastmath: bool | set[str] = fastmath if isinstance(fastmath, bool) else set(fastmath)

    def __call__(self, *args: Any) -> Any:
        """Run the compiled function."""
        return self._compiled(*args)

    @functools.cached_property
    def _compiled(self) -> Callable[..., Any]:
        import numba

        options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": self._fastmath}
        if self._source == _stamp(self.python.__code__.co_filename):
            with contextlib.suppress(RuntimeError):  # numba finds no folder that it may write to
                return numba.njit(cache=True, **options)(self.python)
        return numba.njit(**options)(self.python)

    @property
    def _numba_type_(self) -> Any:
        # what numba asks of a global that compiled code refers to
        return self._compiled._numba_type_  # type: ignore[attr-defined]


def kernel(function: Callable[..., Any] | None = None, *, fastmath: bool | frozenset[str] = False) -> Any:
    """Mark a function as a kernel: compiled at its first call, without the interpreter's lock.

    Args:
        function: loops over NumPy arrays and numbers, in the subset of Python that numba compiles.
        fastmath: floating-point liberties, as in numba; False keeps IEEE arithmetic. Sums that should run in
            vector registers need {"reassoc", "contract", "nsz"}; none of these breaks NaN or infinity.

    Returns:
        The kernel, or a decorator if only options are given.
    """
    if function is None:
        return functools.partial(kernel, fastmath=fastmath)
    return Kernel(function, fastmath)


def available() -> bool:
    """Whether kernels can run: numba is installed and the environment does not say MEDREG_KERNELS=off."""
    return os.environ.get("MEDREG_KERNELS", "") != "off" and _numba() is not None


def pieces(count: int, *, work: int | None = None) -> list[tuple[int, int]]:
    """Ranges (start, stop) that cover 0 … count, the same whatever the number of threads.

    Args:
        count: length of the range.
        work: elements behind the whole range, `count` if None; little work is one piece.

    Returns:
        At most 32 ranges of nearly equal length, in order; none of them empty.
    """
    number = max(1, min(count, _PIECES_MAX, (count if work is None else work) // _ELEMENTS_A_PIECE))
    edges = [count * index // number for index in range(number + 1)]
    return [(start, stop) for start, stop in itertools.pairwise(edges) if stop > start]


def run_chunks(function: Callable[..., Any], count: int, *args: Any, work: int | None = None) -> None:
    """Call function(start, stop, *args) for every piece of 0 … count, on as many threads as torch uses.

    What a piece computes must not depend on other pieces. Their boundaries depend on `count` and `work`
    alone, so that sums made piece by piece are the same on one thread and on many. The calling thread works
    along; an error in one piece ends the others' queue and is raised here.

    Args:
        function: a kernel (which frees the interpreter's lock) or any callable.
        count: length of the index range that is split.
        *args: passed on as they are, usually NumPy views of CPU tensors.
        work: elements behind the range, see `pieces`; small work runs in the calling thread.
    """
    queue = deque(pieces(count, work=work))
    number = threads()
    helping = min(number, len(queue)) - 1
    if helping < 1:
        _drain(queue, function, args)
        return
    pool = _pool(os.getpid(), number - 1)
    helpers = [pool.submit(_drain, queue, function, args) for _ in range(helping)]
    try:
        _drain(queue, function, args)
    finally:
        # A helper that has not begun is no longer needed; waiting for it could block a nested call for ever
        running = [helper for helper in helpers if not helper.cancel()]
        errors = [error for helper in running if (error := helper.exception()) is not None]
    if errors:
        raise errors[0]


def threads() -> int:
    """Threads that torch uses; before anything has imported it, those that it is going to use.

    Torch itself is not imported here: a program that only measures files ends before torch would be loaded.
    """
    torch = sys.modules.get("torch")
    if torch is not None:
        return int(torch.get_num_threads())
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return int(wanted) if wanted.isdigit() and int(wanted) > 0 else os.cpu_count() or 1


def _drain(queue: deque[tuple[int, int]], function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    while True:
        try:
            start, stop = queue.popleft()
        except IndexError:
            return
        try:
            function(start, stop, *args)
        except BaseException:
            queue.clear()
            raise


@functools.lru_cache(maxsize=4)
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """Threads of this process; a forked child asks with another number and gets its own."""
    return ThreadPoolExecutor(threads, thread_name_prefix="medreg-kernels")


@functools.cache
def _numba() -> ModuleType | None:
    try:
        import numba
    except ImportError:
        return None
    return numba


def _stamp(path: str) -> tuple[float, int]:
    """Time and size of a source file, as far as there is one."""
    try:
        state = Path(path).stat()
    except OSError:
        return 0.0, 0
    return state.st_mtime, state.st_size
