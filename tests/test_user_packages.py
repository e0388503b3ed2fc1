"""A user's own package, outside the repository, adds a sampler, a network, a generative model and a table.

What the user writes lies in `tests/user_packages`; nothing of medreg is edited.
"""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_run import ROOT, environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
DATA = (
    "data.dataset.prepare.subjects=5",
    "data.dataset.prepare.testing=2",
    "data.dataset.prepare.frames=4",
    "data.dataset.prepare.slices=[3,4]",
    "data.preprocess.size=[48,48]",
    "data.loader.batch_size=4",
    "data.loader.repeat=2",
    "trainer.check_val_every_n_epoch=1",
    "pictures=1",
)
SHORT = (*DATA, "trainer.max_epochs=2", "logger=none")
SEGMENTATION = "data=cardiac_phantom_segmentation"


class Lab:
    """A user's folder with a package, configurations and a table, and how the user calls medreg there."""

    def __init__(self, folder: Path) -> None:
        shutil.copytree(ROOT / "tests" / "user_packages", folder)
        self.folder = folder
        self.variables = {
            "MEDREG_ALLOW": "my_lab",
            "MEDREG_CONFIGS": str(folder / "configs"),
            "MEDREG_CACHE": str(folder / "cache"),
            "PYTHONPATH": os.pathsep.join((str(folder), str(ROOT))),
        }

    def run(self, *words: str, code: int = 0, **variables: str) -> str:
        done = subprocess.run(
            [sys.executable, *words],
            cwd=self.folder,
            env=environment(**{**self.variables, **variables}),
            capture_output=True,
            text=True,
            check=False,
        )
        output = done.stdout + done.stderr
        assert done.returncode == code, output[-4000:]
        return output

    def train(self, *words: str, **variables: str) -> str:
        return self.run(str(ROOT / "train.py"), *words, *SHORT, **variables)

    def medreg(self, *words: str, **more) -> str:
        return self.run("-m", "medreg.cli.main", *words, **more)

    def run_folder(self, start: str) -> Path:
        (found,) = (self.folder / "outputs").glob(f"{start}_*/run.json")
        return found.parent

    def trained(self, *words: str, start: str, **variables: str) -> Path:
        """Train twice: the second command finds the run finished."""
        self.train(*words, **variables)
        folder = self.run_folder(start)
        before = (folder / "results.csv").read_bytes()
        assert "Already finished" in self.train(*words, **variables)
        assert (folder / "results.csv").read_bytes() == before
        return folder


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    return Lab(tmp_path_factory.mktemp("user") / "lab")


def mean_of(folder: Path, metric: str, method: str) -> float:
    """Mean over cases of a metric's mean over structures."""
    wanted = {"metric": metric, "method": method, "structure": "mean"}
    with (folder / "results.csv").open() as stream:
        found = [float(row["value"]) for row in csv.DictReader(stream) if wanted.items() <= row.items()]
    return sum(found) / len(found)


def test_a_sampler(lab):
    folder = lab.trained("model=my_sampler", start="my_sampler")
    assert mean_of(folder, "dice", "my_sampler") > mean_of(folder, "dice", "unregistered")
    (case,) = (folder / "cases").glob("*.npz")
    with np.load(case) as arrays:
        assert arrays["displacement_std"].shape == arrays["displacement"].shape
        assert arrays["displacement_std"].mean() > 0
    page = (folder / "report.html").read_text()
    assert "Spread of the draws" in page
    assert "could not be drawn" not in page


def test_a_segmentation_network_by_config_dir(lab):
    """As docs/how-to/own-model.md shows it for a single command."""
    words = ("--config-dir", "configs", "model=my_net", SEGMENTATION)
    folder = lab.trained(*words, start="my_net", MEDREG_CONFIGS="")
    assert 0 < mean_of(folder, "dice", "my_net") <= 1
    page = (folder / "report.html").read_text()
    assert "true and with predicted outlines" in page


def test_a_generative_model_with_a_task_of_its_own(lab):
    folder = lab.trained("model=my_shapes", SEGMENTATION, start="my_shapes")
    assert 0 <= mean_of(folder, "misplaced_percent", "my_shapes") < 100
    page = (folder / "report.html").read_text()
    assert "<h2>Shapes</h2>" in page
    assert "could not be drawn" not in page


def test_a_table(lab):
    words = ("table", "my_paper/networks", "--scale", "smoke", "--experiments", "experiments", *DATA)
    assert "confirmed" in lab.medreg(*words, "--check")
    folder = lab.folder / "outputs" / "tables" / "my_paper" / "networks" / "smoke"
    text = (folder / "table.md").read_text()
    assert "four channels" in text
    assert "Hole" not in text
    runs = sorted((lab.folder / "outputs").glob("my_net_*/run.json"))
    times = [file.stat().st_mtime_ns for file in runs]
    lab.medreg(*words)
    assert (folder / "table.html").stat().st_size > 5000
    assert [file.stat().st_mtime_ns for file in runs] == times


def test_own_options_are_listed_and_misspellings_answered(lab):
    assert "Three convolutions for segmentation" in lab.medreg("list", "model")
    told = lab.medreg("train", "model=my_nett", code=1)
    assert "Did you mean 'my_net'" in told
    shown = lab.medreg("show", "model=my_net", SEGMENTATION, "--key", "model")
    assert "my_net.yaml" in shown


def test_a_folder_of_configurations_that_is_not_there(lab):
    told = lab.medreg("train", "model=my_net", code=1, MEDREG_CONFIGS="nowhere")
    assert "MEDREG_CONFIGS names nowhere" in told
