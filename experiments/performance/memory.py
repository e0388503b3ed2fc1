"""Peak memory, as growth over the inputs, and time of a piece of work in a process of its own."""

from __future__ import annotations

import ctypes
import gc
import logging
import math
import multiprocessing
import resource
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import torch

Call = Callable[[], object]
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_SECONDS = 600.0
# What most contenders need, imported once; those that are not installed are passed over.
_PRELOADED = (
    "torch", "experiments.performance.peers",
    "experiments.performance.peers.ours", "monai.losses", "monai.networks.nets",
    "voxelmorph", "neurite", "deepali.losses", "deepali.core.bspline", "deepali.core.flow",
)  # fmt: skip
_ENOUGH = 1.5  # seconds of calls after which a third one is not needed


@dataclass(frozen=True)
class Cost:
    """What a call took.

    Attributes:
        mib: peak of the memory beyond the inputs, in the first call.
        note: how it was seen, or why there is none.
        wall_s: least of the calls.
        cpu_s: of all threads, least of the same calls.
    """

    mib: float
    note: str
    wall_s: float = math.nan
    cpu_s: float = math.nan


def cost_alone(
    make: Callable[[], Call], small: Callable[[], Call], *, threads: int, device: str, calls: int = 1
) -> Cost:
    """Largest memory of a call beyond what its inputs take, and its time.

    A fresh process does the small work, so that code and threads are in memory, makes the inputs of the
    other, and then does that. The processes descend from one that has imported the packages and run nothing.

    Args:
        make: makes the inputs and returns the call; must be picklable, as `small`.
        small: the same on small inputs.
        threads: of torch.
        device: on "cuda" the allocations of the device are counted, in this process.
        calls: most calls of a work that is quick; the least time counts.
    """
    if torch.device(device).type == "cuda":
        return _cuda_peak(make())
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_PRELOADED))
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(sender, make, small, threads, calls))
    process.start()
    sender.close()
    try:
        return receiver.recv() if receiver.poll(_SECONDS) else Cost(math.nan, f"not done in {_SECONDS:.0f} s")
    except EOFError:
        return Cost(math.nan, "its process died, most often for want of memory")
    finally:
        process.kill()
        process.join()


def cost_of(call: Call, *, calls: int = 1) -> Cost:
    """Largest resident memory during a call over that before it, and its time."""
    gc.collect()
    _return_free_pages()
    before = _reading_mib("VmRSS")
    reset = _reset_peak()
    spent = [_timed(call)]
    if reset:
        mib, note = _reading_mib("VmHWM") - before, "peak of the resident memory"
    else:
        unit = 1 if sys.platform == "darwin" else 1024
        record = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
        mib, note = record - before, "peak of the process's life"
    # The first call of a step pays for memory that the later ones find, so a work that is timed is done twice at least
    while len(spent) < min(calls, 2) or (len(spent) < calls and sum(wall for wall, _ in spent) < _ENOUGH):
        spent.append(_timed(call))
    return Cost(max(mib, 0.0), note, min(wall for wall, _ in spent), min(cpu for _, cpu in spent))


def _timed(call: Call) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - cpu


def _child(
    sender: Connection, make: Callable[[], Call], small: Callable[[], Call], threads: int, calls: int
) -> None:
    torch.set_num_threads(threads)
    warnings.filterwarnings("ignore")  # as in the parent
    logging.disable(logging.WARNING)
    small()()
    sender.send(cost_of(make(), calls=calls))


def _cuda_peak(call: Call) -> Cost:
    call()
    gc.collect()
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    call()
    torch.cuda.synchronize()
    return Cost((torch.cuda.max_memory_allocated() - before) / 2**20, "memory allocated on the device")


def _return_free_pages() -> None:
    """Hand back what glibc keeps of freed memory, or the work would use it again and not be seen to grow."""
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)


def _reset_peak() -> bool:
    """Whether the kernel agrees to forget the largest resident memory so far."""
    try:
        _CLEAR.write_text("5")
    except OSError:
        return False
    return True


def _reading_mib(key: str) -> float:
    if not _STATUS.exists():
        return 0.0
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) / 1024
