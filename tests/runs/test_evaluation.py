"""`mode=test ckpt=RUN` takes what makes the field from the run, and the command line has the last word."""

from __future__ import annotations

import json

import pytest
import yaml
from omegaconf import OmegaConf

from medreg.config.compose import compose
from medreg.config.identity import run_name
from medreg.errors import CheckpointError, ConfigError
from medreg.runs.evaluation import with_options_of_the_run

MADE = (
    "model=optimise",
    "similarity=lncc",
    "transformation=svf",
    "model.levels=[{shrink: 2, sigma: 0.5, iterations: 3, learning_rate: 0.1}]",
    "refine=instance",
    "refine.smoothing=1.5",
    "task.use_masks=false",
)
NODES = ("protocol", "similarity", "regularisation", "transformation", "task", "model", "refine")


@pytest.fixture
def made(tmp_path):
    """A run folder of a method without weights, as a training would leave it."""

    def make(*changes, choices=None):
        cfg = compose([*MADE, *changes], with_hydra=True)
        plain = OmegaConf.to_container(cfg.hydra.runtime.choices)
        content = OmegaConf.to_container(compose([*MADE, *changes]), resolve=True)
        record = {"overrides": [*MADE, *changes], "choices": {**plain, **(choices or {})}}
        (tmp_path / "run.json").write_text(json.dumps(record))
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(content))
        return tmp_path, content

    return make


def composed(words):
    return OmegaConf.to_container(compose(with_options_of_the_run(words)), resolve=True)


def test_everything_that_makes_the_field_comes_from_the_run(made):
    folder, content = made()
    found = composed(["mode=test", f"ckpt={folder}", "data=acdc"])
    assert {node: found[node] for node in NODES} == {node: content[node] for node in NODES}
    assert found["data"] != content["data"]


def test_what_an_experiment_set_comes_along(made):
    """The run's options are compared with what its choices compose to, not taken from its command line."""
    folder, content = made()
    content["refine"]["tolerance"] = 0.125
    (folder / "config.yaml").write_text(yaml.safe_dump(content))
    assert composed(["mode=test", f"ckpt={folder}"])["refine"]["tolerance"] == 0.125


def test_the_command_line_has_the_last_word(made):
    folder, content = made()
    found = composed(["mode=test", f"ckpt={folder}", "refine=none", "task.use_masks=true"])
    assert found["refine"] == {}
    assert found["task"]["use_masks"] is True
    assert found["model"] == content["model"]
    assert (
        composed(["mode=test", f"ckpt={folder}", "model=identity"])["model"]
        == composed(["model=identity"])["model"]
    )


def test_the_dimension_follows_the_data(made):
    folder, _ = made("data=cardiac_phantom")
    assert composed(["mode=test", f"ckpt={folder}", "data=brain_phantom"])["data"]["ndim"] == 3


def test_other_commands_are_left_alone(made):
    folder, _ = made()
    for words in (["mode=test"], [f"ckpt={folder}"], ["mode=test", "ckpt=last"], ["mode=test", "ckpt=a,b"]):
        assert with_options_of_the_run(words) == words
    with pytest.raises(CheckpointError, match="No checkpoint at"):
        with_options_of_the_run(["mode=test", "ckpt=/nowhere"])


def test_the_folder_of_the_evaluation_is_named_by_what_it_does(made):
    folder, _ = made()
    words = ["mode=test", f"ckpt={folder}", "data=acdc"]
    plain, other = (
        run_name(compose(with_options_of_the_run([*words, *more]), with_hydra=True))
        for more in ([], ["refine=none"])
    )
    assert plain.startswith("optimise_acdc_s1_")
    assert plain != other


def test_an_option_that_is_gone_is_named(made):
    folder, _ = made(choices={"model": "../../etc"})
    with pytest.raises(ConfigError, match=r"made with model=\.\./\.\./etc"):
        with_options_of_the_run(["mode=test", f"ckpt={folder}"])
