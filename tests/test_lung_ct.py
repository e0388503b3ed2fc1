"""The real lung CT pair: arranged, two grids, masks, landmarks; registered from the centres of its masks."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from data_build import data_module
from small_run import run

from medreg.data.audit_task import audit_task

pytestmark = pytest.mark.data
NO_CACHE = "cache.kind=none"


@pytest.fixture(scope="module")
def task(shared_data, tmp_path_factory):
    file = Path(__file__).resolve().parents[1] / "scripts" / "arrange_samples.py"
    spec = importlib.util.spec_from_file_location("arrange_samples", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.arrange_lung(shared_data, tmp_path_factory.mktemp("lung"))


def distance_mm(task, alignment):
    """Mean distance of the five landmarks before registration."""
    data = data_module("lungct_pair", task, NO_CACHE, f"preprocess.alignment={alignment}")
    case = next(iter(data.test_dataloader()))
    affine = case.get("keypoint_affine", case["affine"])[0, :3, :3]
    residual = (case["fixed_keypoints"] - case["moving_keypoints"])[0].double() @ affine.T
    return float(torch.linalg.vector_norm(residual, dim=-1).mean())


@pytest.mark.parametrize(
    ("alignment", "mm"), [("world", 37.570), ("index", 7.274), ("centre", 5.180), ("mask", 4.456)]
)
def test_where_it_starts(task, alignment, mm):
    # by hand: NumPy on landmarks_voxel.csv, the headers and the masks
    assert distance_mm(task, alignment) == pytest.approx(mm, abs=2e-3)


def test_arranged_task_is_sound(task):
    found = audit_task(task, deep=True)
    assert not found.failed
    assert found.facts["sizes (voxels)"] == "115 x 157 x 129 (1), 115 x 166 x 131 (1)"
    assert json.loads((task / "LungCT_dataset.json").read_text())["labels"] == {}


@pytest.mark.slow
def test_registration_brings_the_landmarks_together(task, tmp_path):
    # The two coarse levels of the experiment; its result at half resolution: experiments/learn2reg/lung_ct.md
    coarse = (
        "model.levels=[{shrink: 8, sigma: 2.0, iterations: 80, learning_rate: 0.2},"
        "{shrink: 4, sigma: 1.0, iterations: 40, learning_rate: 0.2}]"
    )
    options = ["experiment=optimise_lung", f"data.dataset.root={task}", "data.cache.kind=none", coarse]
    code, output = run(tmp_path, [*options, "logger=none", "report=false"])
    assert code == 0, output
    results = pd.read_csv(next((tmp_path / "outputs").iterdir()) / "results.csv")
    values = results[results["structure"] == "all"].set_index(["method", "metric"])["value"]
    assert values["unregistered", "tre_mm"] == pytest.approx(4.456, abs=2e-3)
    assert values["optimise", "tre_mm"] < 3
    assert values["optimise", "folding_percent"] == 0
