"""Peak memory of a piece of work in a process of its own, as growth over its inputs."""

from __future__ import annotations

import gc
import logging
import math
import multiprocessing
import resource
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import torch

Call = Callable[[], object]
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_SECONDS = 600.0


@dataclass(frozen=True)
class Peak:
    """Memory beyond the inputs, MiB, and how it was seen."""

    mib: float
    note: str


def peak_memory_mib(
    make: Callable[[], Call], small: Callable[[], Call], *, threads: int, device: str
) -> Peak:
    """Largest memory of a call beyond what its inputs take.

    A fresh process does the small work, so that code and threads are in memory, makes the inputs of the
    other, and then does that once. The processes descend from one that has imported torch and started nothing.

    Args:
        make: makes the inputs and returns the call; must be picklable, as `small`.
        small: the same on small inputs.
        threads: of torch.
        device: on "cuda" the allocations of the device are counted, in this process.
    """
    if torch.device(device).type == "cuda":
        return _cuda_peak(make())
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "medreg.performance.peers", "medreg.performance.peers.ours"])
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(sender, make, small, threads))
    process.start()
    sender.close()
    try:
        return receiver.recv() if receiver.poll(_SECONDS) else Peak(math.nan, f"not done in {_SECONDS:.0f} s")
    except EOFError:
        return Peak(math.nan, "its process died, most often for want of memory")
    finally:
        process.kill()
        process.join()


def growth_mib(call: Call) -> Peak:
    """Largest resident memory during a call over that before it."""
    gc.collect()
    before = _reading_mib("VmRSS")
    reset = _reset_peak()
    call()
    if reset:
        return Peak(max(_reading_mib("VmHWM") - before, 0.0), "peak of the resident memory")
    unit = 1 if sys.platform == "darwin" else 1024
    record = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
    return Peak(max(record - before, 0.0), "peak of the process's life")


def _child(sender: Connection, make: Callable[[], Call], small: Callable[[], Call], threads: int) -> None:
    torch.set_num_threads(threads)
    warnings.filterwarnings("ignore")  # as in the parent
    logging.disable(logging.WARNING)
    small()()
    sender.send(growth_mib(make()))


def _cuda_peak(call: Call) -> Peak:
    call()
    gc.collect()
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    call()
    torch.cuda.synchronize()
    return Peak((torch.cuda.max_memory_allocated() - before) / 2**20, "memory allocated on the device")


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
