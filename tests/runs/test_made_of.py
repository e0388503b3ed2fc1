"""A run folder knows what it was made of: options as they resolve, callbacks that matter, files of the cases."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import yaml
from omegaconf import OmegaConf

from medreg.errors import CheckpointError
from medreg.runs.made_of import changes, refuse_other, remember
from medreg.runs.place import alone, set_aside
from medreg.runs.seen import TrainedOn, refuse_seen

BEST = {"_target_": "x.Best", "monitor": "val/dice", "mode": "max"}
OPTIONS = {
    "seed": 1,
    "paths": {"data": "/here"},
    "data": {"root": "${paths.data}/a", "size": [16, 16], "limit": float("nan")},
    "callbacks": {"best": BEST, "pictures": {"cases": 3}},
    "mode": "both",
}
CASES = {
    "train": {"p0": {"image": "a", "label": "b"}},
    "val": {"p1": {"image": "c"}},
    "test": {"p2": {"image": "d", "label": "e"}},
}


def folder_of(tmp_path):
    cfg = OmegaConf.create(OPTIONS)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(OmegaConf.to_container(cfg, resolve=True)))
    remember(tmp_path, CASES)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").touch()
    return tmp_path


def with_option(key, value):
    cfg = OmegaConf.create(OPTIONS)
    OmegaConf.update(cfg, key, value)
    return cfg


def test_nothing_changes_for_the_same_command(tmp_path):
    folder = folder_of(tmp_path)
    found = changes(folder, OmegaConf.create(OPTIONS), CASES)
    assert found.options == found.training == found.test == ()
    refuse_other(found, folder, mode="both")


@pytest.mark.parametrize(
    ("key", "value", "matters"),
    [
        ("callbacks.best.monitor", "val/loss", True),
        ("data.size", [16, 18], True),
        ("callbacks.pictures.cases", 5, False),
        ("paths.data", "/there", False),
        ("mode", "test", False),
    ],
)
def test_only_what_determines_a_result_counts(tmp_path, key, value, matters):
    folder = folder_of(tmp_path)
    found = changes(folder, with_option(key, value), CASES)
    assert bool(found.options) is matters
    if matters:
        with pytest.raises(CheckpointError, match=rf"{key} is .* and was .*fresh=true"):
            refuse_other(found, folder, mode="both")


def test_changed_cases_are_named_by_set_and_kind(tmp_path):
    folder = folder_of(tmp_path)
    now = {"train": {"p9": {"image": "z"}}, "val": CASES["val"], "test": {"p2": {"image": "d", "label": "f"}}}
    found = changes(folder, OmegaConf.create(OPTIONS), now)
    assert found.training == ("1 train cases are new (p9)", "1 train cases are gone (p0)")
    assert found.test == ("label of 1 test cases changed (p2)",)
    with pytest.raises(CheckpointError, match=r"p9.*begin anew with fresh=true"):
        refuse_other(found, folder, mode="both")
    refuse_other(found, folder, mode="test")  # told, and evaluated


def test_an_evaluation_writes_its_own_cases_only(tmp_path):
    folder = folder_of(tmp_path)
    remember(folder, {"train": {}, "val": {}, "test": {"p5": {}}}, stages=("test",))
    found = changes(folder, OmegaConf.create(OPTIONS), {**CASES, "test": {"p5": {}}})
    assert found.training == found.test == ()


def data(train, test, *, root="/d", marks=None, meant=False):
    marks = marks or {}
    cases = {
        stage: {name: {"image": marks.get(name, f"mark {name}")} for name in names}
        for stage, names in (("train", train), ("test", test))
    }
    split = SimpleNamespace(train=tuple(train), test=tuple(test))
    splitter = SimpleNamespace(train_on_evaluation=meant)
    return SimpleNamespace(
        contents=lambda: cases, split=split, splitter=splitter, dataset=SimpleNamespace(root=root)
    )


def test_subjects_of_the_training_are_not_reported(tmp_path):
    before = TrainedOn.of_data(data(["a", "b"], ["c"]))
    stored = TrainedOn.of_checkpoint(
        {"medreg": {"trained_on": before.plain()}}, tmp_path / "x", data(["a"], ["c"]), own=tmp_path
    )
    assert stored == before
    refuse_seen(stored, data(["a", "b"], ["c"]), tmp_path / "x", "ckpt=best")
    with pytest.raises(CheckpointError, match=r"ckpt=best: 1 of today's test subjects.*\(b\)"):
        refuse_seen(stored, data(["c"], ["b"]), tmp_path / "x", "ckpt=best")
    refuse_seen(stored, data(["c"], ["b"], meant=True), tmp_path / "x", "ckpt=best")


def test_elsewhere_names_say_nothing_and_images_do():
    before = TrainedOn.of_data(data(["a"], []))
    assert before.seen(data([], ["a"], root="/other", marks={"a": "another person"})) == []
    assert before.seen(data([], ["q"], root="/other", marks={"q": "mark a"})) == ["q"]
    later = TrainedOn.of_data(data(["q"], [], root="/other")).and_before(before)
    assert later.seen(data([], ["z"], root="/third", marks={"z": "mark a"})) == ["z"]


def test_a_case_with_an_unseen_image_is_unseen():
    """Every case may be registered to an atlas that was trained on."""
    module = data([], ["q"], root="/other")
    module.contents()["test"]["q"] = {"fixed_image": "mark a", "moving_image": "new"}
    assert TrainedOn.of_data(data(["a"], [])).seen(module) == []


def test_one_command_at_a_time_and_earlier_results_twice_a_second(tmp_path):
    with alone(tmp_path):
        from medreg.io.lock import exclusive

        with exclusive(tmp_path / ".run.lock", wait_s=0) as held:
            assert not held
    for number in range(2):
        (tmp_path / "run.json").write_text(str(number))
        set_aside(tmp_path)
    assert sorted(file.read_text() for file in (tmp_path / "earlier").glob("*/run.json")) == ["0", "1"]
    assert (tmp_path / ".run.lock").exists()
