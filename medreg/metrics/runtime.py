"""Wall time and peak memory of a piece of work."""

from __future__ import annotations

import math
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import torch

MIB = 2**20
_STATM = Path("/proc/self/statm")


@dataclass(frozen=True)
class RuntimeUsage:
    """Cost of a finished piece of work.

    `memory_kind` says what the memory figure is, because the two kinds are not comparable:
    "cuda_allocated", the most memory that tensors held on the device, including what was there before
    (weights, inputs); "rss_growth", the growth of this process's resident memory over its size at the start.
    Memory that the allocator kept from earlier work does not count as growth, nor is a peak shorter than the
    sampling interval always seen, so the latter is a lower bound.
    """

    time_s: float
    peak_memory_mib: float
    memory_kind: Literal["cuda_allocated", "rss_growth"]


class _CudaMemory:
    """Peak of the tensors on one CUDA device; resets the device's peak counter at the start."""

    kind: Literal["cuda_allocated"] = "cuda_allocated"

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def start(self) -> None:
        torch.cuda.synchronize(self.device)
        torch.cuda.reset_peak_memory_stats(self.device)

    def wait(self) -> None:
        torch.cuda.synchronize(self.device)

    def stop(self) -> float:
        return float(torch.cuda.max_memory_allocated(self.device)) / MIB


class _ResidentMemory:
    """Peak growth of resident memory: exact when the process reaches a new record, sampled otherwise."""

    kind: Literal["rss_growth"] = "rss_growth"
    interval_s = 0.005

    def start(self) -> None:
        self.before, self.record_before = _resident_bytes(), _record_bytes()
        self.seen = self.before
        self.finished = threading.Event()
        self.sampler = threading.Thread(target=self._sample, daemon=True)
        self.sampler.start()

    def wait(self) -> None:
        """CPU work is finished when the call returns."""

    def stop(self) -> float:
        self.finished.set()
        self.sampler.join()
        record = _record_bytes()
        peak = max(self.seen, _resident_bytes(), record if record > self.record_before else 0.0)
        return max(peak - self.before, 0.0) / MIB

    def _sample(self) -> None:
        while not self.finished.wait(self.interval_s):
            self.seen = max(self.seen, _resident_bytes())


def _resident_bytes() -> float:
    """Resident memory now; where the system does not tell, the record so far."""
    if not _STATM.exists():
        return _record_bytes()
    return float(_STATM.read_text().split()[1]) * _page_bytes()


def _page_bytes() -> int:
    import resource  # POSIX only, as is /proc

    return resource.getpagesize()


def _record_bytes() -> float:
    """Largest resident memory of the process so far; NaN on a system without getrusage (Windows)."""
    if sys.platform == "win32":
        return math.nan
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * unit


class RuntimeMeter:
    """Measures the wall time and the peak memory of the block under `with`.

    The device is synchronised before the clock starts and before it stops. Leave warm-up outside the block.

    Example:
        with RuntimeMeter(image.device) as meter:
            registration = model(fixed, moving)
        meter.usage.time_s, meter.usage.peak_memory_mib

    Args:
        device: place where the work runs; "cuda" measures the device's allocations, any other the process's growth.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        chosen = torch.device(device)
        self._memory: _CudaMemory | _ResidentMemory = (
            _CudaMemory(chosen) if chosen.type == "cuda" else _ResidentMemory()
        )
        self._usage: RuntimeUsage | None = None

    @property
    def usage(self) -> RuntimeUsage:
        """What the block cost.

        Raises:
            RuntimeError: the block has not ended yet.
        """
        if self._usage is None:
            raise RuntimeError("The measured block has not ended; read `usage` after the `with` block.")
        return self._usage

    def __enter__(self) -> Self:
        self._usage = None
        self._memory.start()
        self._started = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._memory.wait()
        finally:
            time_s = time.perf_counter() - self._started
            self._usage = RuntimeUsage(time_s, self._memory.stop(), self._memory.kind)
