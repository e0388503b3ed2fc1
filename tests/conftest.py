"""Fixtures shared by all tests: the folder of real images and a quiet, isolated environment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Workers that run side by side share the cores: one thread each, in the processes that tests start, too. Set before
# any test imports torch, which reads it then.
if "PYTEST_XDIST_WORKER" in os.environ:
    for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(_name, "1")


@pytest.fixture(scope="session", autouse=True)
def isolated_environment(tmp_path_factory):
    """Keep caches and W&B files of the tests out of the user's home folder."""
    home = tmp_path_factory.mktemp("home")
    for name, value in {
        "WANDB_MODE": "offline",
        "WANDB_SILENT": "true",
        "WANDB_DIR": str(home),
        "WANDB_CACHE_DIR": str(home / "wandb-cache"),
        "WANDB_DATA_DIR": str(home / "wandb-data"),
        "WANDB_CONFIG_DIR": str(home / "wandb-config"),
        "MPLBACKEND": "Agg",
    }.items():
        os.environ.setdefault(name, value)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real sample images (`../shared/data/real`, or MEDREG_SHARED_DATA); skips where absent."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data" / "real"
    folder = Path(os.environ.get("MEDREG_SHARED_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"real sample images not found in {folder}; set MEDREG_SHARED_DATA to use them")
    return folder


@pytest.fixture(scope="session")
def shared_descriptors() -> Path:
    """Folder of the official Learn2Reg descriptors; skips where absent."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data" / "learn2reg"
    folder = Path(os.environ.get("MEDREG_SHARED_DESCRIPTORS", default))
    if not folder.is_dir():
        pytest.skip(f"Learn2Reg descriptors not found in {folder}; set MEDREG_SHARED_DESCRIPTORS to use them")
    return folder
