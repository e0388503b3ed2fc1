"""`run.json`: what ran, on what, and how it ended; written before the work starts and after each stage."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import medreg
from medreg.io.atomic import read_json, write_json

PACKAGES = (
    "torch",
    "pytorch-lightning",
    "hydra-core",
    "omegaconf",
    "monai",
    "nibabel",
    "numpy",
    "scipy",
    "wandb",
)


def git_state() -> dict[str, Any]:
    """Return commit and whether the checkout had changes; empty values outside a checkout."""
    root = Path(medreg.__file__).resolve().parents[1]

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(root), *words], capture_output=True, text=True, timeout=10, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    inside = git("rev-parse", "--show-toplevel")
    if inside is None or Path(inside) != root:
        return {"commit": None, "dirty": None}
    return {
        "commit": git("rev-parse", "HEAD"),
        "dirty": bool(git("status", "--porcelain", "--untracked-files=no")),
    }


def environment() -> dict[str, Any]:
    """Return versions and hardware."""
    versions: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "versions": {"medreg": medreg.__version__, "python": platform.python_version(), **versions},
        "hardware": {"machine": platform.machine(), "system": platform.platform(), "cpus": os.cpu_count()},
    }


def hardware() -> str:
    """Return the processor's name and the number of cores that this process may use."""
    name = platform.processor() or platform.machine()
    listed = Path("/proc/cpuinfo")
    if listed.is_file():
        names = [
            line.split(":", 1)[1].strip() for line in listed.read_text().splitlines() if "model name" in line
        ]
        name = names[0] if names else name
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} cores"


class RunRecord:
    """The record of one run folder.

    Args:
        folder: run folder; an existing record is continued.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / "run.json"
        self.content: dict[str, Any] = self._read()

    def _read(self) -> dict[str, Any]:
        found = read_json(self.file)
        return found if isinstance(found, dict) else {}

    def update(self, **facts: Any) -> None:
        """Set facts and write the file in one step."""
        self.content.update(facts)
        write_json(self.file, self.content)

    def start(self, *, overrides: tuple[str, ...], **facts: Any) -> None:
        """Record command, code and environment before the work starts."""
        self.update(
            status="running",
            error=None,
            command=shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
            overrides=list(overrides),
            started=self.content.get("started") or _now(),
            continued=[*self.content.get("continued", []), _now()] if self.content.get("started") else [],
            **git_state(),
            **environment(),
            **facts,
        )

    def finish(self, **facts: Any) -> None:
        """Record a good end."""
        self.update(status="finished", finished=_now(), **facts)

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Record an error that leaves the block, whatever it is, and let it go on."""
        try:
            yield
        finally:
            error = sys.exception()
            if isinstance(error, Exception) and self.content.get("status") not in ("failed", "interrupted"):
                self.fail("failed", f"{type(error).__name__}: {error}")

    def fail(self, status: str, error: str) -> None:
        """Record a bad end: `failed` or `interrupted`, with the sentence shown to the user."""
        self.update(status=status, error=error, finished=_now())


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
