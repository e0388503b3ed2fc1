"""`medreg search-smoothness` on a run folder with data: files, cost, failures, and what reads the result."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import yaml
from conditional_models import write_run
from omegaconf import OmegaConf
from small_run import arguments, tiny_acdc

from medreg.cli.main import main
from medreg.config.compose import compose
from medreg.models.chosen_smoothness import ChosenSmoothness, read_choice
from medreg.runs.trained import TrainedRun
from medreg.studies.smoothness.methods import GridSearch
from medreg.studies.smoothness.run_cases import load_cases, load_run
from medreg.studies.smoothness.scores import Scores

MODEL = {"_target_": "conditional_models.ShiftByWeight", "reach": 1.0, "takes_maps": True}


@pytest.fixture(autouse=True)
def allowed(monkeypatch):
    monkeypatch.setenv("MEDREG_ALLOW", "conditional_models")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny_acdc(tmp_path_factory.mktemp("acdc"), subjects=5)


@pytest.fixture(scope="module")
def config(data):
    found = OmegaConf.to_container(compose(arguments(data, "data.split.val=0.4")), resolve=True)
    return {key: found[key] for key in ("data", "task", "model")}


def run_folder(folder, config, *, task=None, cpu=None, **model):
    task = {**config["task"], **(task or {})}
    made = write_run(folder, {**config, "model": {**MODEL, **model}, "task": task})
    if cpu is not None:
        (made / "run.json").write_text(json.dumps({"cpu_seconds": {"fit": cpu}}))
    return made


def test_search_writes_what_register_and_the_test_read(tmp_path, config, capsys):
    run = run_folder(tmp_path / "run", config, task={"regions": [[1, 2], [3]]}, cpu=100.0)
    assert main(["search-smoothness", str(run), "--regions", "--set", "iterations=4", "--scope", "pair"]) == 0
    file = run / "smoothness" / "adam_label_dice_regions_pair.yaml"
    content = yaml.safe_load(file.read_text())
    assert len(content["groups"]) == 2
    assert content["objective"]["after"] <= content["objective"]["before"]
    assert content["cost"]["evaluations"] == 2 * (1 + 5)
    assert content["failed"] == {}
    chosen = read_choice(file)
    assert set(chosen.labels) == {0, 1, 2, 3}
    assert chosen.labels[1] == chosen.labels[2]
    groups = np.array([group["weights"] for group in content["groups"]])
    assert [chosen.labels[code] for code in (0, 1, 3)] == pytest.approx(groups.mean(0), abs=1e-6)
    trace = pd.read_csv(file.with_name("adam_label_dice_regions_pair_trace.csv"))
    assert len(trace) == 2 * 5
    assert "objective" in trace
    assert "CPU s" in capsys.readouterr().out


def trained_at(weight, *, scale):
    high = 1.0 if weight is None else weight
    return {
        "draws": {"low": 0.0 if weight is None else weight, "high": high},
        "objective": {"_target_": "medreg.tasks.draws.Additive", "scale": scale, "power": 2},
    }


def test_cost_beside_retrained_models(tmp_path, config):
    run = run_folder(tmp_path / "run", config, task=trained_at(None, scale=16.0), cpu=100.0)
    fixed = [
        run_folder(tmp_path / f"at{low}", config, task=trained_at(low, scale=4.0), smoothness=low, cpu=60.0)
        for low in (0.2, 0.8)
    ]
    words = [
        "search-smoothness",
        str(run),
        "--method",
        "grid",
        "--set",
        "step=0.5",
        "--cases",
        "1",
        "--against",
    ]
    assert main([*words, *map(str, fixed)]) == 0
    table = pd.read_csv(run / "smoothness" / "cost.csv")
    ours, theirs = table.to_dict("records")
    assert (ours["models"], ours["training_cpu_s"]) == (1, 100.0)
    assert ours["evaluations"] == 1 + 4
    assert (theirs["models"], theirs["training_cpu_s"]) == (2, 120.0)
    assert theirs["chosen"] in (0.1, 0.4)  # 4·0.2² = 16·0.1²
    assert math.isfinite(ours["dice"])
    assert main([*words, str(run)]) == 1  # not trained for one λ
    assert main([*words[:-1]]) == 0  # a row is replaced, not repeated
    assert len(pd.read_csv(run / "smoothness" / "cost.csv")) == 2


def test_a_bad_case_does_not_lose_the_others(tmp_path, config, capsys):
    data = tiny_acdc(tmp_path / "acdc", subjects=5)
    run = run_folder(tmp_path / "run", {**config, "data": moved(config["data"], data)})
    cases = yaml.safe_load((_search(run) / "grid_label_dice_scalar_dataset.yaml").read_text())["groups"][0]
    person = cases["cases"][0].split("_")[0]
    broken = sorted((data / "training" / person).glob("*frame01.nii.gz"))[0]
    broken.write_bytes(broken.read_bytes()[:200])
    content = yaml.safe_load((_search(run) / "grid_label_dice_scalar_dataset.yaml").read_text())
    assert content["groups"][0]["cases"] == cases["cases"][1:]
    assert len(content["failed"]) == 1
    assert "left out" in capsys.readouterr().out
    for other in sorted((data / "training").glob("*/*_gt.nii.gz")):
        image = nib.load(other)
        nib.save(nib.Nifti1Image(np.zeros(image.shape, np.uint8), image.affine), other)
    assert main(["search-smoothness", str(run), "--method", "grid", "--set", "step=0.5"]) == 1
    assert "could be measured" in capsys.readouterr().err


def moved(node, root):
    return {**node, "dataset": {**node["dataset"], "root": str(root)}}


def _search(run):
    assert main(["search-smoothness", str(run), "--method", "grid", "--set", "step=0.5"]) == 0
    return run / "smoothness"


@pytest.mark.parametrize(
    ("model", "words", "told"),
    [
        ({}, ["--objective", "dice"], "choose label_dice"),
        ({}, ["--scope", "all"], "choose dataset, group or pair"),
        ({}, ["--group-size", "0"], "give 1 or more"),
        ({}, ["--method", "newton"], "Methods: adam"),
        ({"takes_maps": False}, ["--regions"], "model=csain"),
    ],
)
def test_mistakes_end_in_a_sentence(tmp_path, config, capsys, model, words, told):
    run = run_folder(tmp_path / "run", config, **model)
    assert main(["search-smoothness", str(run), *words]) == 1
    assert told in capsys.readouterr().err
    assert main(["search-smoothness", str(tmp_path / "none")]) == 1
    assert "is no run folder" in capsys.readouterr().err


def test_figures_and_tables_lie_in_the_run_folder(tmp_path, config, capsys):
    run = run_folder(tmp_path / "run", config)
    task = {"draws": {"low": 0.5, "high": 0.5}}
    other = run_folder(tmp_path / "fixed", config, task=task, smoothness=0.5)
    words = ["draw-smoothness", str(run), "--smoothness", "0", "0.5", "1", "--cases", "1"]
    assert main([*words, "--against", str(other), "--region", "1,2"]) == 0
    for file in capsys.readouterr().out.split():
        assert str(run) in file
    assert {file.name for file in (run / "figures").iterdir()} == {
        "smoothness_curve.png",
        "smoothness_fields.png",
        "smoothness_two_regions.png",
    }
    curve = pd.read_csv(run / "smoothness" / "curve.csv")
    assert curve["smoothness"].tolist() == [0, 0.5, 1, 0.5]
    same = curve[curve["smoothness"] == 0.5]
    assert same["dice"].nunique() == 1  # the same model twice
    assert len(pd.read_csv(run / "smoothness" / "two_regions.csv")) == 4
    assert len(pd.read_csv(run / "smoothness" / "fields.csv")) == 3
    assert main([*words, "--case", "5"]) == 1
    assert main([*words, "--region", "LV"]) == 1


def test_found_weights_are_measured_on_other_cases(tmp_path, config):
    run = run_folder(tmp_path / "run", config, task={"regions": [[1, 2], [3]]})
    words = ["search-smoothness", str(run), "--regions", "--method", "coordinate", "--set", "step=0.5"]
    assert main([*words, "--set", "rounds=1", "--evaluate", "test", "--shuffles", "2"]) == 0
    table = pd.read_csv(run / "smoothness" / "coordinate_label_dice_regions_dataset_test.csv")
    assert table["split"].eq("test").all()
    assert table["choice"].tolist()[:3] == ["model's own", "uniform, best of the search cases", "found"]


def test_a_search_goes_on_where_it_stopped(tmp_path, config, monkeypatch, capsys):
    run = run_folder(tmp_path / "run", config)
    words = ["search-smoothness", str(run), "--method", "grid", "--set", "step=0.5", "--scope", "pair"]
    real, calls = GridSearch.minimise, []

    def stops(self, problem, trace):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(self, problem, trace)

    monkeypatch.setattr(GridSearch, "minimise", stops)
    assert main(words) == 130
    (file,) = (run / "smoothness").glob("grid_*.yaml")
    assert len(yaml.safe_load(file.read_text())["groups"]) == 1
    assert main(words) == 0
    first = yaml.safe_load(file.read_text())
    assert (len(first["groups"]), len(calls)) == (2, 3)  # the second group was begun twice
    assert main(words) == 0
    assert yaml.safe_load(file.read_text()) == first  # CPU seconds too: it was read
    assert main([*words, "--again"]) == 0
    assert len(calls) == 5
    assert main([*words[:4], "--set", "step=0.25", *words[6:]]) == 0
    assert len(calls) == 7


def test_scores_are_measured_once(tmp_path, config, monkeypatch, capsys):
    run = run_folder(tmp_path / "run", config)
    real, calls = TrainedRun.displacement, []

    def counted(self, batch, **options):
        calls.append(1)
        return real(self, batch, **options)

    monkeypatch.setattr(TrainedRun, "displacement", counted)
    cases = load_cases(load_run(run), "val")
    scores = Scores(tmp_path / "scores")
    first = scores.of(load_run(run), ChosenSmoothness(0.5), cases)
    again = Scores(tmp_path / "scores").of(load_run(run), ChosenSmoothness(0.5), cases)
    assert len(calls) == len(first) == 2
    assert again == first
    scores.of(load_run(run), ChosenSmoothness(0.75), cases)
    assert len(calls) == 4
    cases.batches[0]["moving_image"].add_(0.1)
    changed = replace(cases, batches=list(cases.batches))
    scores.of(load_run(run), ChosenSmoothness(0.5), changed)
    assert len(calls) == 5  # the other case is the same
