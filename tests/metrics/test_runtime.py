"""Run-time measurement: time, memory, use before the end, errors inside the block."""

from __future__ import annotations

import dataclasses
import mmap
import time

import numpy as np
import pytest
import torch

from medreg.metrics.runtime import RuntimeMeter


def test_wall_time_is_that_of_the_block():
    with RuntimeMeter() as meter:
        time.sleep(0.05)
    assert 0.05 <= meter.usage.time_s < 5


def test_growth_of_memory_is_seen_even_if_freed_before_the_end():
    # Pages of its own: the allocator might hand out memory that earlier work has left resident.
    with RuntimeMeter("cpu") as meter, mmap.mmap(-1, 64 * 2**20) as block:
        block.write(b"\1" * len(block))
        time.sleep(0.05)
    assert meter.usage.memory_kind == "rss_growth"
    assert 60 < meter.usage.peak_memory_mib < 200


def test_earlier_memory_does_not_count_as_growth():
    held = np.ones(8 * 2**20)
    with RuntimeMeter() as meter:
        time.sleep(0.02)
    assert held.sum() > 0
    assert meter.usage.peak_memory_mib < 30


def test_usage_is_frozen_and_refused_before_the_end():
    meter = RuntimeMeter()
    with pytest.raises(RuntimeError, match="not ended"):
        _ = meter.usage
    with meter:
        pass
    with pytest.raises(dataclasses.FrozenInstanceError):
        meter.usage.time_s = 0.0


def test_error_in_the_block_passes_through_and_is_still_measured():
    meter = RuntimeMeter()
    with pytest.raises(ZeroDivisionError), meter:
        _ = 1 / 0
    assert meter.usage.time_s >= 0


@pytest.mark.gpu
def test_cuda_peak_is_what_tensors_held():
    with RuntimeMeter("cuda") as meter:
        block = torch.ones(64 * 2**18, device="cuda")  # 64 MiB
        del block
    assert meter.usage.memory_kind == "cuda_allocated"
    assert meter.usage.peak_memory_mib >= 64
