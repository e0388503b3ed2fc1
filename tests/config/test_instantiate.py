"""Opening a stranger's configuration executes nothing of theirs."""

from __future__ import annotations

import pytest

from medreg.config.instantiate import build, check_target
from medreg.errors import ConfigError


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "subprocess.Popen",
        "builtins.eval",
        "medreg.runs.record.subprocess.Popen",  # a class reached through a module of ours
        "medreg.io.checkpoint.pickle.Unpickler",
        "medreg.config.paths.config_dir",  # ours, but a function
        "torch.load",
        "torch.hub.load",
        "torch.nn.functional.relu",
        "pytorch_lightning.seed_everything",
        "medreg.nothing.Here",
    ],
)
def test_forbidden_targets_are_refused_before_anything_runs(target):
    with pytest.raises(ConfigError, match="_target_"):
        build({"_target_": target})


def test_forbidden_target_deep_inside_is_found():
    node = {
        "_target_": "torch.nn.Identity",
        "rest": [{"inner": {"_target_": "os.system", "command": "true"}}],
    }
    with pytest.raises(ConfigError, match=r"os\.system"):
        build(node)


def test_the_user_can_allow_a_package(monkeypatch):
    with pytest.raises(ConfigError, match="MEDREG_ALLOW=numpy"):
        check_target("numpy.random.Generator")
    monkeypatch.setenv("MEDREG_ALLOW", "fractions")
    assert build({"_target_": "fractions.Fraction", "numerator": 1, "denominator": 2}) == 0.5


def test_arguments_that_do_not_fit_are_explained():
    with pytest.raises(ConfigError, match="do not fit"):
        build({"_target_": "torch.nn.Linear", "in_features": 1, "out_features": 1, "colour": "red"})


def test_none_and_partial():
    assert build(None) is None
    optimiser = build({"_target_": "torch.optim.SGD", "_partial_": True, "lr": 0.1})
    assert optimiser.keywords == {"lr": 0.1}
