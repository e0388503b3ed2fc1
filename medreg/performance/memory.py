"""Peak memory of an operator in a process of its own, as growth over its inputs."""

from __future__ import annotations

import gc
import logging
import math
import multiprocessing
import resource
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from medreg.performance.inputs import Inputs
from medreg.performance.sizes import Size

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_SECONDS = 300.0
_SMALL = 24  # voxels an axis of the call that loads code and starts threads before anything is counted


@dataclass(frozen=True)
class Peak:
    """Memory beyond the inputs, MiB, and how it was seen."""

    mib: float
    note: str


def peak_memory_mib(contender: str, operator: str, inputs: Inputs, *, threads: int) -> Peak:
    """Peak of forward and backward of one contender, without its inputs.

    A fresh process runs the operator on small images, so that code and threads are in memory, makes the
    inputs, and then runs it once. The processes descend from one that has imported torch and nothing else.
    """
    if torch.device(inputs.device).type == "cuda":
        return _cuda_peak(_call(contender, operator, inputs))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "medreg.performance.peers", "medreg.performance.peers.ours"])
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(sender, contender, operator, inputs, threads))
    process.start()
    sender.close()
    try:
        return receiver.recv() if receiver.poll(_SECONDS) else Peak(math.nan, f"not done in {_SECONDS:.0f} s")
    except EOFError:
        return Peak(math.nan, "its process died, most often for want of memory")
    finally:
        process.kill()
        process.join()


def growth_mib(call: Callable[[], object]) -> Peak:
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


def _child(sender: object, contender: str, operator: str, inputs: Inputs, threads: int) -> None:
    torch.set_num_threads(threads)
    warnings.filterwarnings("ignore")  # as in the parent
    logging.disable(logging.WARNING)
    small = replace(inputs, size=Size(inputs.size.batch, (_SMALL,) * inputs.size.ndim), window=3)
    _call(contender, operator, small)()
    call = _call(contender, operator, inputs)
    sender.send(growth_mib(call))  # type: ignore[attr-defined]


def _call(contender: str, operator: str, inputs: Inputs) -> Callable[[], object]:
    from medreg.performance.peers import all_peers
    from medreg.performance.peers.ours import Ours

    found = next(peer for peer in (Ours(), *all_peers()) if peer.name == contender)
    return found.operators()[operator](inputs).with_backward


def _cuda_peak(call: Callable[[], object]) -> Peak:
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
