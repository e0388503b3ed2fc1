"""A whole run as a user starts it, on a tiny ACDC folder: in this process, or in one of its own that can be killed."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import subprocess
import sys
from pathlib import Path

import torch
from data_fixtures import acdc_patient
from hydra.core.global_hydra import GlobalHydra

ROOT = Path(__file__).resolve().parents[2]
TINY = (
    "data=acdc",
    "data.preprocess.spacing_mm=null",
    "data.preprocess.size=[16,16]",
    "data.split.published=false",
    "data.split.val=0.2",
    "data.split.test=0.4",
    "data.loader.batch_size=2",
    "data.loader.repeat=2",
    "model=voxelmorph",
    "model.encoder=[4,4]",
    "model.decoder=[4]",
    "model.out=[4]",
    "trainer.max_epochs=3",
    "trainer.check_val_every_n_epoch=1",
    "logger=none",
    "pictures=1",
)


def tiny_acdc(root: Path, *, subjects: int = 5) -> Path:
    """Write a few patients of three thin slices."""
    for number in range(1, subjects + 1):
        acdc_patient(root, f"patient{number:03d}", (20, 20, 3), ed=1, es=3, frames=4)
    return root


def arguments(data: Path, *more: str) -> list[str]:
    return [*TINY, f"data.dataset.root={data}", *more]


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", **more}


def start(
    folder: Path, options: list[str], *, flags: tuple[str, ...] = (), **more: str
) -> subprocess.Popen[str]:
    """Start `python train.py` in a folder and return the process."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *flags, *options],
        cwd=folder,
        env=environment(**more),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(folder: Path, options: list[str], *, flags: tuple[str, ...] = ()) -> tuple[int, str]:
    """Run in this process, which saves importing torch once more; return exit code and output."""
    from medreg.cli.train import main

    folder.mkdir(parents=True, exist_ok=True)
    output = io.StringIO()
    before, words, threads = Path.cwd(), list(sys.argv), torch.get_num_threads()
    # As in a process of its own: sums depend on the number of threads in the last bits.
    torch.set_num_threads(1)
    os.chdir(folder)
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            code = main([*flags, *options])
    finally:
        os.chdir(before)
        torch.set_num_threads(threads)
        sys.argv[:] = words
        GlobalHydra.instance().clear()
        logging.getLogger().handlers.clear()
    return code, output.getvalue()


def trained(folder: Path, options: list[str]) -> Path:
    """Run in this process without loggers and report, which must succeed; return the run folder."""
    code, output = run(folder, [*options, "logger=none", "report=false"])
    assert code == 0, output
    return run_folder(folder)


def run_process(
    folder: Path, options: list[str], *, flags: tuple[str, ...] = (), **more: str
) -> tuple[int, str]:
    """Run in a process of its own; return exit code and output."""
    folder.mkdir(parents=True, exist_ok=True)
    process = start(folder, options, flags=flags, **more)
    output, _ = process.communicate(timeout=280)
    return process.returncode, output


def run_folder(folder: Path) -> Path:
    """Return the one run folder below `<folder>/outputs`."""
    found = [path.parent for path in (folder / "outputs").glob("*/run.json")]
    assert len(found) == 1, found
    return found[0]
