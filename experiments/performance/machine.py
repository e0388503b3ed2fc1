"""The machine: what it is called, and what its memory and its arithmetic reach."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from experiments.performance.timing import Budget, take_turns
from medreg import __version__

_COPY = 2**26  # floats of the array that is copied: a quarter of a GiB, beyond every cache
_MATMUL = 2048


@dataclass(frozen=True)
class Rates:
    """What memory and arithmetic reach."""

    bytes_per_s: float  # read plus written by a copy
    flops_per_s: float  # of a single-precision matrix product


def measure_rates(device: str, *, seconds: float) -> Rates:
    """Copy a large array and multiply two matrices, and take the fastest of the repetitions."""
    source = torch.ones(_COPY, device=device)
    target, left, right = torch.empty_like(source), *torch.randn(2, _MATMUL, _MATMUL, device=device)
    works = {"copy": lambda: target.copy_(source), "matmul": lambda: left @ right}
    found = take_turns(works, budget=Budget(seconds, most=100), device=device)
    moved, computed = 2 * source.numel() * source.element_size(), 2 * _MATMUL**3
    return Rates(moved / found["copy"].wall.min(), computed / found["matmul"].wall.min())


def machine_facts(device: str, *, threads: int) -> dict[str, str]:
    """Hardware, threads and versions: what stands beside every figure."""
    return {
        "cpu": _cpu_model(),
        "cores": str(os.cpu_count()),
        "threads": str(threads),
        "device": torch.cuda.get_device_name() if torch.device(device).type == "cuda" else "cpu",
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "medreg": __version__,
        "commit": _commit(),
    }


def now() -> dict[str, str]:
    """Date and load average, which belong to the moment of a measurement."""
    return {"date": time.strftime("%Y-%m-%d %H:%M:%S"), "load": f"{os.getloadavg()[0]:.2f}"}


def _cpu_model() -> str:
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text().splitlines() if listing.exists() else []
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def _commit() -> str:
    here = Path(__file__).resolve().parents[2]
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"
