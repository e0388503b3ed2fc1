"""A misspelt group, option or key is an error that names the nearest valid ones."""

from __future__ import annotations

import pytest

from medreg.config.compose import compose
from medreg.config.listing import options
from medreg.config.provenance import origins
from medreg.config.suggest import nearest
from medreg.errors import ConfigError


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("model=gradirm", "'gradirn'"),
        ("modle=gradirn", "'model'"),
        ("optimiser.lrr=0.1", "'optimiser.lr'"),
        ("model.num_block=[1]", "'model.num_blocks'"),
        ("simillarity=ssd", "'similarity'"),
        ("trainer.max_epoch=3", "'trainer.max_epochs'"),
        ("model=gradirn,voxelmorf", "'voxelmorph'"),
    ],
)
def test_misspelling_is_answered_with_the_nearest_name(override, expected):
    with pytest.raises(ConfigError, match=r"Did you mean .*" + expected):
        compose([override])


@pytest.mark.parametrize("group", ["model", "data", "similarity", "logger", "debug", "refine", "trainer"])
def test_no_group_is_null(group):
    with pytest.raises(ConfigError, match=f"{group}=null: choose one of .* or leave the option out"):
        compose([f"{group}=null"])


def test_option_of_another_choice_is_known_in_its_own_composition():
    assert compose(["model=voxelmorph", "model.out=[8]"]).model.out == [8]
    with pytest.raises(ConfigError, match=r"model\.num_blocks"):
        compose(["model=voxelmorph", "model.num_blocks=[1]"])


def test_a_new_key_can_be_added_deliberately():
    assert compose(["+trainer.fast_dev_run=true"]).trainer.fast_dev_run is True


def test_syntax_error_says_how_to_quote():
    with pytest.raises(ConfigError, match="quote"):
        compose(["model.num_blocks=[1,1"])


def test_nearest_prefers_the_same_last_part():
    assert nearest("optim.lr", ["optimiser.lr", "trainer.devices"])[0] == "optimiser.lr"


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text(
        "# A model of mine.\n_target_: mine.Model\nwidth: 3 # ours\n"
    )
    (tmp_path / "model" / "gradirn.yaml").write_text("# Another one.\n_target_: mine.Other\n")
    monkeypatch.setenv("MEDREG_CONFIGS", str(tmp_path))
    return tmp_path


def test_own_options_are_known_everywhere(own):
    assert compose(["model=mine", "model.width=5"]).model.width == 5
    assert options()["model"]["mine"] == "A model of mine."
    found = {origin.key: origin.source for origin in origins(["model=mine"])}
    assert found["model.width"] == str(own / "model" / "mine.yaml")
    assert found["optimiser.lr"].startswith("configs/")
    with pytest.raises(ConfigError, match="Did you mean 'mine'"):
        compose(["model=minee"])


def test_an_own_option_does_not_hide_one_of_medreg(own):
    assert compose(["model=gradirn"]).model._target_.startswith("medreg.")
    assert options()["model"]["gradirn"].startswith("GraDIRN")


def test_a_folder_of_own_options_that_is_not_there(monkeypatch):
    monkeypatch.setenv("MEDREG_CONFIGS", "nowhere")
    with pytest.raises(ConfigError, match="MEDREG_CONFIGS names nowhere"):
        compose([])
