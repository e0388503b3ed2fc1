"""The package works from a built wheel, outside the checkout, with its configuration inside."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with nothing but the wheel's content; the dependencies are those of this environment."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", str(folder), str(ROOT)], check=True, capture_output=True)
    wheel = next(folder.glob("*.whl"))
    target = folder / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return target


def medreg(installed, folder, *words):
    environment = {**os.environ, "PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "medreg.cli.main", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
    )


def test_wheel_holds_configuration_and_type_marker(installed):
    assert (installed / "medreg" / "_configs" / "train.yaml").is_file()
    assert (installed / "medreg" / "py.typed").is_file()
    assert not (installed / "tests").exists()


def test_commands_answer_outside_the_checkout(installed, tmp_path):
    listed = medreg(installed, tmp_path, "list", "model")
    assert "model=gradirn" in listed.stdout
    shown = medreg(installed, tmp_path, "show", "model=voxelmorph", "--key", "model")
    assert "configs/model/voxelmorph.yaml" in shown.stdout


def test_misspelt_option_outside_the_checkout(installed, tmp_path):
    done = medreg(installed, tmp_path, "train", "model=gradirm")
    assert done.returncode == 1
    assert "gradirn" in done.stderr


@pytest.mark.slow
def test_training_outside_the_checkout(installed, tmp_path):
    words = [
        "debug=one_batch",
        "data.dataset.prepare.subjects=4",
        "data.dataset.prepare.testing=1",
        "logger=none",
    ]
    done = medreg(
        installed, tmp_path, "train", *words, f"paths.cache={tmp_path}/cache", "data.split.val=0.34"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert list((tmp_path / "outputs").glob("*/report.html"))
