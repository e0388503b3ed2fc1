"""Paired timing: contenders take turns in one process, so that a busy machine is busy for all of them."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Samples:
    """Seconds of the rounds 0, 1, … in which a contender ran."""

    wall: Array
    cpu: Array  # of all threads; on a GPU the time between two events


@dataclass(frozen=True)
class Ratio:
    """A cost over another's, with its 95 % interval from a bootstrap over rounds."""

    median: float
    low: float
    high: float
    minimum: float  # of the minima
    rounds: int


@dataclass(frozen=True)
class Budget:
    """How long to measure.

    Attributes:
        seconds: for one contender.
        slow: seconds of a call from which one round less is enough, and from thrice which a single one is.
        least: rounds of a call that is not slow.
        most: rounds, however fast.
    """

    seconds: float
    slow: float = 1.5
    least: int = 3
    most: int = 40

    def rounds(self, call_s: float) -> int:
        """Rounds for a call of so many seconds."""
        least = 1 if call_s > 3 * self.slow else self.least - 1 if call_s > self.slow else self.least
        return int(np.clip(self.seconds / max(call_s, 1e-9), least, self.most))


class CpuClock:
    """Wall and process time of a call."""

    def __call__(self, work: Callable[[], object]) -> tuple[float, float]:
        """Return both in seconds."""
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        return time.perf_counter() - wall, time.process_time() - cpu


class CudaClock:
    """Wall time, and time between two events on the device, of a call that is waited for."""

    def __call__(self, work: Callable[[], object]) -> tuple[float, float]:
        """Return both in seconds."""
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda.synchronize()
        wall = time.perf_counter()
        start.record()
        work()
        end.record()
        torch.cuda.synchronize()
        return time.perf_counter() - wall, start.elapsed_time(end) / 1e3


def clock_of(device: str) -> CpuClock | CudaClock:
    """Return the clock of a device."""
    return CudaClock() if torch.device(device).type == "cuda" else CpuClock()


def take_turns(
    works: Mapping[str, Callable[[], object]], *, budget: Budget, device: str = "cpu", seed: int = 0
) -> dict[str, Samples]:
    """Time contenders in rounds, each round in a new order.

    The first call of each compiles, allocates and fills caches and does not count, unless it is so slow that
    this is nothing beside it. A contender leaves when it has used its budget; the first of the works, with
    which the others are compared, may use thrice that to stay with them. Ratios are taken over the rounds that
    both were in.
    """
    clock, order = clock_of(device), random.Random(seed)
    quota: dict[str, int] = {}
    seconds: dict[str, float] = {}
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    for name, work in works.items():
        first = clock(work)
        if first[0] > 3 * budget.slow:
            taken[name].append(first)
        seconds[name] = first[0] if first[0] > budget.slow else clock(work)[0]
        quota[name] = budget.rounds(seconds[name])
    reference = next(iter(works))
    wide = replace(budget, seconds=3 * budget.seconds).rounds(seconds[reference])
    quota[reference] = max(quota[reference], min(wide, max(quota.values())))
    gc.collect()
    gc.disable()
    try:
        for number in range(max(quota.values())):
            present = [name for name in works if number < quota[name] and len(taken[name]) <= number]
            for name in order.sample(present, len(present)):
                taken[name].append(clock(works[name]))
    finally:
        gc.enable()
    return {name: _samples(rows) for name, rows in taken.items()}


def _samples(rows: list[tuple[float, float]]) -> Samples:
    wall, cpu = np.array(rows, dtype=np.float64).T
    return Samples(wall, cpu)


def ratio(ours: Array, theirs: Array, *, draws: int = 500, seed: int = 0) -> Ratio:
    """Ratio of medians of ours over theirs; rounds that only one was in are left out.

    Args:
        ours: seconds of rounds 0, 1, ….
        theirs: the same rounds.
        draws: resamples of the rounds for the interval.
        seed: of the resampling.
    """
    rounds = min(len(ours), len(theirs))
    ours, theirs = ours[:rounds], theirs[:rounds]
    chosen = np.random.default_rng(seed).integers(0, rounds, (draws, rounds))
    spread = np.median(ours[chosen], 1) / np.maximum(np.median(theirs[chosen], 1), 1e-12)
    low, high = np.percentile(spread, [2.5, 97.5])
    medians = float(np.median(ours) / max(float(np.median(theirs)), 1e-12))
    return Ratio(
        medians, float(low), float(high), float(ours.min() / max(float(theirs.min()), 1e-12)), rounds
    )
