"""Runs of earlier versions keep their λ under the names of today."""

from __future__ import annotations

import pytest

from medreg.config.renamed import with_names_of_today
from medreg.config.suggest import check_overrides
from medreg.errors import ConfigError
from medreg.models.chosen_smoothness import read_choice


def test_options_of_a_conditional_run_of_an_earlier_version():
    old = {
        "model": {"_target_": "m", "weight_range": [0.0, 1.0], "weight": 0.2},
        "task": {"weights": {"low": 0.0}, "weight": 0.5, "label_weights": {3: 1.0}, "seed": 1},
        "seed": 1,
    }
    assert with_names_of_today(old) == {
        "model": {"_target_": "m", "smoothness_range": [0.0, 1.0], "smoothness": 0.2},
        "task": {"draws": {"low": 0.0}, "smoothness": 0.5, "label_smoothness": {3: 1.0}, "seed": 1},
        "seed": 1,
    }


def test_a_weight_that_is_no_smoothness_keeps_its_name():
    plain = {"model": {"weight": 2.0}, "task": {"weight": 0.5}}
    assert with_names_of_today(plain) == plain
    fixed = {"model": {"weight": 2.0}, "task": {"weights": {"low": 0.5}}}
    assert with_names_of_today(fixed) == {"model": {"weight": 2.0}, "task": {"draws": {"low": 0.5}}}


def test_a_result_of_a_search_of_an_earlier_version(tmp_path):
    file = tmp_path / "found.yaml"
    file.write_text("weight: 0.75\nlabels: {3: 0.5}\n")
    found = read_choice(file)
    assert (found.smoothness, found.labels) == (0.75, {3: 0.5})


@pytest.mark.parametrize(
    ("old", "new"), [("task.weight", "task.smoothness"), ("task.weights.low", "task.draws.low")]
)
def test_an_option_with_its_old_name_is_told_the_new_one(old, new):
    with pytest.raises(ConfigError, match=f"It is called {new} now"):
        check_overrides(["model=csain", f"{old}=0.3"])
