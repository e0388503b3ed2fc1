"""Freed memory is kept on CPUs with memory to spare, and decided once."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from medreg.callbacks import keep_memory
from medreg.callbacks.keep_memory import KeepMemory
from medreg.errors import ConfigError


def trainer(device="cpu", devices=1):
    return SimpleNamespace(strategy=SimpleNamespace(root_device=torch.device(device)), num_devices=devices)


@pytest.fixture
def told(monkeypatch):
    """The calls of the allocator; the process has needed 1 GiB of 10."""
    calls = []
    monkeypatch.setattr(keep_memory, "keep_freed_memory", lambda: calls.append(True))
    monkeypatch.setattr(keep_memory, "memory_limit", lambda: 10 * 2**30)
    monkeypatch.setattr(keep_memory, "peak_memory", lambda: 2**30)
    monkeypatch.setattr(keep_memory, "is_glibc", lambda: True)
    return calls


@pytest.mark.parametrize(
    ("share", "devices", "device", "kept"),
    [(0.4, 1, "cpu", 1), (0.05, 1, "cpu", 0), (0.4, 8, "cpu", 0), (0.4, 1, "cuda", 0)],
    ids=["enough", "too little", "too many processes", "GPU"],
)
def test_kept_where_there_is_enough(told, share, devices, device, kept):
    callback = KeepMemory(share=share)
    for _ in range(3):
        callback.on_train_batch_end(trainer(device, devices), None, None, None, 0)
        callback.on_test_batch_end(trainer(device, devices), None, None, None, 0)
    assert len(told) == kept


@pytest.mark.parametrize("share", ["lots", 1.5, -0.1, None])
def test_a_share_is_a_share(share):
    with pytest.raises(ConfigError, match=r"callbacks\.keep_memory\.share"):
        KeepMemory(share=share)
