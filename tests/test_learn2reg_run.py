"""A Learn2Reg task from training to official metrics, as a person does it, on people that are made up."""

from __future__ import annotations

import json
from dataclasses import replace

import pandas as pd
import pytest
from small_run import run
from test_phantom_brain import SHAPE, phantom

from medreg.cli.main import main

pytestmark = pytest.mark.slow
# T1w to T1w of a small phantom whose people differ by about a voxel; a network of 12 000 weights.
OPTIONS = (
    "model=voxelmorph",
    "data=learn2reg",
    "data.dataset.task=PhantomBrain",
    "data.pairing.otherwise.fixed_modality=MR T1w",
    "data.pairing.otherwise.moving_modality=MR T1w",
    "data.split.select=1",
    "data.loader.batch_size=2",
    "data.cache.kind=memory",
    "similarity=lncc",
    "similarity.window=5",
    "regularisation.weight=0.05",
    "regularisation.units=voxel",
    "model.encoder=[8,16,16]",
    "model.decoder=[16,16]",
    "model.out=[8]",
    "optimiser.lr=2e-3",
    "trainer.max_epochs=30",
    "trainer.check_val_every_n_epoch=10",
    "logger=none",
    "report=false",
    "seed=3",
)


def test_train_predict_zip_evaluate(tmp_path):
    shape = replace(SHAPE, coarse_mm=5.0, size_percent=4.0)
    task = phantom(tmp_path / "brain", subjects=10, validation_subjects=2, shape=shape).ensure()
    (task / "PhantomBrainT1T2_dataset.json").unlink()  # one task a folder, as published
    code, output = run(tmp_path, [*OPTIONS, f"data.dataset.root={task}"])
    assert code == 0, output
    folder = next((tmp_path / "outputs").iterdir())
    results = pd.read_csv(folder / "results.csv")
    means = results[(results["metric"] == "dice") & (results["structure"] == "mean")]
    dice = means.groupby("method")["value"].mean()
    assert dice["voxelmorph"] > dice["unregistered"] + 0.015
    record = json.loads((folder / "run.json").read_text())
    assert record["model_selection"] == "1 subjects set aside from the training pool (data.split.seed=0)"

    fields, metrics = tmp_path / "submission.zip", tmp_path / "metrics.json"
    words = ["--task", "PhantomBrain", "--data", str(task)]
    assert main(["submit", "--run", str(folder), *words, "-o", str(fields)]) == 0
    words = ["--fields", str(fields), "--data", str(task), "-o", str(metrics)]
    assert main(["evaluate", "learn2reg", *words]) == 0
    table = pd.read_csv(metrics.with_suffix(".csv"))
    official = table[(table["metric"] == "DSC") & (table["item"] == -1)]["value"]
    # linear warping and 0 outside there, nearest voxels and the border here: close, not equal
    assert official.mean() == pytest.approx(dice["voxelmorph"], abs=0.02)
