"""Freed arrays are used again without page faults, where the allocator can be told so."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from medreg.kernels import allocator

COUNT = """
import resource, sys
from medreg.kernels.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def faults():
    b"x" * (64 * 2**20)  # 64 MiB, freed at once
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
first = faults()
for _ in range(4):
    last = faults()
print(last - first)
"""


def counted(mode):
    done = subprocess.run([sys.executable, "-c", COUNT, mode], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator can be told")
def test_freed_memory_is_used_again():
    assert counted("keep") < 0.1 * counted("plain")


def test_other_allocators_are_left_alone(monkeypatch):
    monkeypatch.setattr(allocator.platform, "libc_ver", lambda: ("", ""))
    assert allocator.keep_freed_memory() is False


def test_the_limit_is_the_machines_or_a_containers(tmp_path, monkeypatch):
    machine = allocator.memory_limit()
    assert 2**24 < allocator.peak_memory() < machine
    container, unlimited = tmp_path / "limit", tmp_path / "max"
    container.write_text("1000000\n")
    unlimited.write_text("max\n")
    monkeypatch.setattr(allocator, "_LIMITS", (str(unlimited), str(tmp_path / "absent"), str(container)))
    assert allocator.memory_limit() == 1_000_000
