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


def resumable(path, **more):
    return write(
        path,
        optimizer_states=[],
        loops={},
        epoch=1,
        global_step=2,
        **{"pytorch-lightning_version": "2.6"},
        **more,
    )


def flipped(path, place=None):
    """Flip a bit in the middle of the largest tensor, or at a place."""
    content = bytearray(path.read_bytes())
    content[content.find(b"MARKMARK") + 3 if place is None else place] ^= 1
    path.write_bytes(bytes(content))
    return path


def marked(path):
    return resumable(path, more=torch.frombuffer(bytearray(b"MARKMARK"), dtype=torch.uint8))


def test_a_flipped_bit_of_a_tensor_is_noticed(tmp_path):
    path = marked(tmp_path / "a.ckpt")
    assert checkpoint.read(path)["epoch"] == 1
    with pytest.raises(CheckpointError, match="bytes differ from those that were written"):
        checkpoint.read(flipped(path))


def test_any_flipped_byte_is_noticed_or_changes_nothing(tmp_path):
    path = marked(tmp_path / "a.ckpt")
    whole, before = path.read_bytes(), checkpoint.read(path)
    for place in range(0, len(whole), 37):
        path.write_bytes(whole)
        try:
            found = checkpoint.read(flipped(path, place))
        except CheckpointError:
            continue
        assert torch.equal(found["more"], before["more"])
        assert all(
            torch.equal(found["state_dict"][key], value) for key, value in before["state_dict"].items()
        )


def test_training_goes_on_from_the_one_before_a_damaged_one(tmp_path, caplog):
    folder = tmp_path / "checkpoints"
    flipped(marked(folder / "last.ckpt"))
    previous = resumable(folder / "previous.ckpt")
    found = checkpoint.find_resumable("last", tmp_path)
    assert found is not None
    assert found[0] == previous
    assert "last.ckpt is damaged" in caplog.text
    assert "Going on from the checkpoint before it" in caplog.text
    previous.unlink()
    with pytest.raises(CheckpointError, match="damaged"):
        checkpoint.find_resumable("last", tmp_path)
    assert checkpoint.find_resumable("last", tmp_path / "new") is None


def test_weights_alone_are_no_place_to_go_on_from(tmp_path):
    with pytest.raises(CheckpointError, match="holds weights only"):
        checkpoint.find_resumable(str(write(tmp_path / "w.ckpt")), tmp_path)
