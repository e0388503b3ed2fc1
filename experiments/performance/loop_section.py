"""Section `loop`: what an epoch takes beside forward, backward and optimiser, and how soon help answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.performance.measurements import Row
from experiments.performance.session import OURS, Session

SECTION, MODE = "loop", "epoch"
WORK = ("forward", "backward", "optimiser")
HELP = (("train --help", ("train", "--help")), ("--help", ("--help",)))
_STARTS = 3
# The stopwatch is a class of this repository and not of medreg: the run has to find it, and to trust it.
REPOSITORY = Path(__file__).resolve().parents[2]
OWN = {
    "PYTHONPATH": os.pathsep.join([str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]),
    "MEDREG_ALLOW": ",".join(["experiments", *filter(None, [os.environ.get("MEDREG_ALLOW")])]),
}


@dataclass(frozen=True)
class Run:
    """A training run that is watched.

    Attributes:
        name: in the table.
        overrides: as for `train.py`.
        epochs: of which the first, which reads the images, is not counted.
    """

    name: str
    overrides: tuple[str, ...]
    epochs: int


_VOLUMES = (
    "data.dataset.prepare.subjects=8",
    "data.dataset.prepare.validation_subjects=2",
    "data.cache.kind=memory",
)
FULL = (
    Run("gradirn, cardiac_phantom", ("model=gradirn", "data=cardiac_phantom"), 3),
    Run("voxelmorph, cardiac_phantom", ("model=voxelmorph", "data=cardiac_phantom"), 4),
    Run("gradirn, brain_phantom", ("model=gradirn", "data=brain_phantom", *_VOLUMES), 2),
    Run("voxelmorph, brain_phantom", ("model=voxelmorph", "data=brain_phantom", *_VOLUMES), 4),
)
QUICK = (
    Run(
        "voxelmorph, small cardiac_phantom",
        ("model=voxelmorph", "data=cardiac_phantom", "data.dataset.prepare.subjects=6",
         "data.dataset.prepare.testing=2", "data.loader.repeat=2"),
        2,
    ),
)  # fmt: skip


def run_loop(session: Session) -> None:
    """Watch training runs in processes of their own, as a user starts them, and time the help."""
    for title, words in HELP:
        if not session.measured.has(SECTION, title, "", "start"):
            spent = np.array([_start_seconds(words) for _ in range(_STARTS)]).min(0)
            session.measured.add(
                Row(SECTION, title, "", OURS, "start", quantity, value)
                for quantity, value in zip(("wall_min_s", "cpu_min_s"), spent.tolist(), strict=True)
            )
            session.say(f"medreg {title}: {spent[0]:.2f} s, CPU {spent[1]:.2f} s")
    for run in QUICK if session.settings.quick else FULL:
        if not session.measured.has(SECTION, run.name, "", MODE):
            session.say(f"epochs of {run.name}")
            rows = shares(run, watch(run, session.measured.folder / "loop", threads=session.settings.threads))
            session.measured.add(rows)
            for row in rows:
                session.say(f"  {row.quantity} {row.value:.3g}")


def _start_seconds(words: tuple[str, ...]) -> tuple[float, float]:
    """Wall and CPU seconds of a command that only prints."""
    wall, before = time.perf_counter(), os.times()
    subprocess.run([sys.executable, "-m", "medreg.cli.main", *words], capture_output=True, check=True)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - wall, cpu


def watch(run: Run, folder: Path, *, threads: int) -> dict[str, Any]:
    """Train with the stopwatch and return what it wrote.

    Raises:
        RuntimeError: the run failed; holds the end of what it printed.
    """
    name = run.name.replace(", ", "_").replace(" ", "_")
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / f"{name}.json").resolve()
    file.unlink(missing_ok=True)
    command = [sys.executable, "-m", "medreg.cli.main", "train", *run.overrides]
    command += [
        f"trainer.max_epochs={run.epochs}",
        "trainer.check_val_every_n_epoch=1",
        "trainer.accelerator=cpu",
    ]
    command += ["mode=fit", "logger=none", "report=false", "fresh=true", f"hydra.run.dir={folder / name}"]
    command += [f"paths.cache={(folder / 'cache').resolve()}"]
    command += ["+callbacks.stopwatch._target_=experiments.performance.stopwatch.Stopwatch"]
    command += [f"+callbacks.stopwatch.file={file}", "+callbacks.stopwatch.skip=1"]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE", **OWN}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if not file.is_file():
        raise RuntimeError(f"the run {run.name} failed: {(done.stdout + done.stderr)[-1500:]}")
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def shares(run: Run, found: dict[str, Any]) -> list[Row]:
    """Seconds a step and a validation case, and the parts of an epoch as shares of its time without validation."""
    parts, counts = found["parts"], found["counts"]
    rows = []
    for clock in ("wall", "cpu"):
        seconds = {name: part[f"{clock}_s"] for name, part in parts.items()}
        training = seconds["total"] - seconds.get("validation", 0.0)
        work = sum(seconds[name] for name in WORK)
        numbers = {
            "step": work / counts["steps"],
            "outside": 1 - work / training,
            "data": seconds["data"] / training,
            "checkpoint": seconds.get("checkpoint", 0.0) / training,
            "validation_of_epoch": seconds.get("validation", 0.0) / training,
            "validation_case": seconds.get("validation", 0.0) / max(counts.get("validation_cases", 0), 1),
        }
        units = {"step": "_s", "validation_case": "_s"}
        rows += [
            Row(SECTION, run.name, "", OURS, MODE, f"{name}_{clock}{units.get(name, '_share')}", value)
            for name, value in numbers.items()
        ]
    return rows
