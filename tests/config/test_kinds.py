"""Each kind of task brings the groups of its kind, and no others."""

from __future__ import annotations

import pytest

from medreg.config.compose import compose
from medreg.config.instantiate import build
from medreg.config.provenance import origins
from medreg.errors import ConfigError

OF_REGISTRATION = {"protocol", "similarity", "regularisation", "transformation", "refine"}


def test_registration_has_its_parts():
    assert set(compose([])) >= OF_REGISTRATION | {"metrics"}


@pytest.mark.parametrize("model", ["unet", "mad"])
def test_other_kinds_have_none_of_them(model):
    assert not set(compose([f"model={model}"])) & OF_REGISTRATION
    assert not [
        found.key for found in origins([f"model={model}"]) if found.key.split(".")[0] in OF_REGISTRATION
    ]


def test_objective_and_best_checkpoint_are_those_of_the_kind():
    chosen = {model: compose([f"model={model}"]) for model in ("gradirn", "unet", "mad")}
    assert {model: cfg.objective for model, cfg in chosen.items()} == {
        "gradirn": "dice",
        "unet": "dice",
        "mad": "distance_l1_mm",
    }
    assert [chosen[model].callbacks.best.monitor for model in ("unet", "mad")] == [
        "val/dice_mean",
        "val/loss",
    ]
    assert compose(["model=unet", "objective=hd95_mm"]).objective == "hd95_mm"


def test_the_network_has_a_class_for_each_structure_and_the_background():
    assert compose(["model=unet"]).model.out_channels == 1 + len(compose([]).data.labels)
    with pytest.raises(ConfigError, match=r"model\.out_channels"):
        build(compose(["model=unet", "data.labels=null"]).model)


@pytest.mark.parametrize("options", [("model=unet", "similarity=lncc"), ("model=mad", "refine=instance")])
def test_a_part_of_another_kind_is_refused(options):
    with pytest.raises(ConfigError, match=f"{options[1].split('=')[0]}: this kind of task has no such part"):
        compose(list(options))
