"""Help and lists answer at once, because nothing heavy is imported for them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "pytorch_lightning", "monai", "matplotlib", "wandb", "nibabel", "pandas", "scipy")
CHECK = (
    "import sys; from medreg.cli.main import main\n"
    "try:\n    code = main({words!r})\nexcept SystemExit as stop:\n    code = stop.code\n"
    "loaded = sorted(set({heavy!r}) & set(sys.modules)); print('LOADED', loaded); sys.exit(code)"
)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["list"], "model=gradirn"),
        (["train", "--help"], "Every number is an option"),
        (["--help"], "register"),
        (["show", "model=voxelmorph"], "configs/model/voxelmorph.yaml"),
    ],
)
def test_nothing_heavy_is_imported(words, expected):
    code = CHECK.format(words=words, heavy=HEAVY)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout
    assert "LOADED []" in done.stdout


def test_help_is_one_screen():
    done = subprocess.run(
        [sys.executable, "train.py", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert len(done.stdout.splitlines()) <= 45
