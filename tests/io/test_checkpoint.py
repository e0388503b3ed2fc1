"""Checkpoints: found by name or path, read without executing anything, explained when they do not fit."""

from __future__ import annotations

import pickle

import pytest
import torch

from medreg.errors import CheckpointError, ConfigError
from medreg.io import checkpoint
from medreg.runs.trained import TrainedRun


def write(path, **extra):
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = {f"model.{key}": value for key, value in torch.nn.Linear(2, 1).state_dict().items()}
    torch.save({"state_dict": weights, "medreg": {"overrides": ["model=tiny"]}, **extra}, path)
    return path


def test_best_falls_back_on_last(tmp_path):
    assert checkpoint.find("best", tmp_path) is None
    last = write(tmp_path / "checkpoints" / "last.ckpt")
    assert checkpoint.find("best", tmp_path) == last
    best = write(tmp_path / "checkpoints" / "best.ckpt")
    assert checkpoint.find("best", tmp_path) == best
    assert checkpoint.find(str(tmp_path), tmp_path / "other") == best


@pytest.mark.parametrize("spec", ["nowhere.ckpt", "."])
def test_a_path_without_checkpoint_is_named(tmp_path, monkeypatch, spec):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError):
        checkpoint.find(spec, tmp_path)


def test_truncated_file_is_explained(tmp_path):
    path = write(tmp_path / "a.ckpt")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="Cannot read the checkpoint"):
        checkpoint.read(path)


def test_pickled_code_is_not_executed(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    path = tmp_path / "evil.ckpt"
    torch.save({"state_dict": {}, "x": Trap()}, path, pickle_module=pickle)
    with pytest.raises(CheckpointError):
        checkpoint.read(path)
    assert not (tmp_path / "sprung").exists()


def test_weights_of_another_model_are_refused_with_its_options(tmp_path):
    path = write(tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match="model=tiny"):
        checkpoint.apply_weights(torch.nn.Linear(3, 1), path)
    with pytest.raises(CheckpointError, match="lacks"):
        checkpoint.apply_weights(torch.nn.Sequential(torch.nn.Linear(2, 1)), path)


def test_a_strangers_config_builds_nothing_of_theirs(tmp_path):
    config = {"model": {"_target_": "os.system", "command": f"touch {tmp_path}/sprung"}}
    path = write(tmp_path / "a.ckpt", medreg={"config": config})
    with pytest.raises(ConfigError, match=r"os\.system"):
        TrainedRun.open(path)
    assert not (tmp_path / "sprung").exists()
