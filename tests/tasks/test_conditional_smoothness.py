"""The λ at which a trained conditional model is evaluated: `task.smoothness` and its two companions."""

from __future__ import annotations

import logging

import pytest
import torch
from conditional_models import ShiftByWeight
from omegaconf import OmegaConf

from medreg.config.compose import compose
from medreg.config.instantiate import build
from medreg.errors import CompositionError, ConfigError


@pytest.fixture(scope="module")
def node():
    return OmegaConf.to_container(compose(["model=csain", "logger=none"]).task, resolve=True)


def task_at(node, *, model=None, **chosen):
    return build({**node, "model": None, **chosen}, model=model or ShiftByWeight(4.0, takes_maps=True))


def batch():
    images = torch.rand(2, 1, 6, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.zeros(2, 1, 6, 5, dtype=torch.int64)
    labels[:, :, 2:4] = 3
    return {"fixed_image": images, "moving_image": images, "fixed_label": labels, "case": ["a", "a"]}


def test_the_models_own_without_an_option(node):
    assert torch.equal(task_at(node).register(batch()).displacement[:, 0], torch.full((2, 6, 5), 3.0))


def test_one_number_and_one_a_label(node):
    assert task_at(node, smoothness=0.5).register(batch()).displacement[:, 0].unique().tolist() == [2.0]
    found = (
        task_at(node, smoothness=0.5, label_smoothness={3: 1.0}).register(batch()).displacement[0, 0, :, 0]
    )
    assert found.tolist() == [2, 2, 0, 0, 2, 2]


def test_the_result_of_a_search(node, tmp_path):
    file = tmp_path / "found.yaml"
    file.write_text("smoothness: 0.75\nlabels: {0: 0.75, 3: 0.5}\n")
    found = task_at(node, smoothness_file=str(file)).register(batch()).displacement[0, 0, :, 0]
    assert found.tolist() == [1, 1, 2, 2, 1, 1]
    with pytest.raises(ConfigError, match=r"task\.smoothness_file excludes"):
        task_at(node, smoothness_file=str(file), smoothness=0.3)


def test_the_range_of_training_is_warned_of(node, caplog):
    with caplog.at_level(logging.WARNING, logger="medreg"):
        task_at(node, smoothness=0.5).on_test_start()
        assert not caplog.records
        task_at(node, label_smoothness={3: 1.5}).on_test_start()
    assert "λ = 1.5 lies outside the range of training, 0 to 1" in caplog.text


def test_what_does_not_fit_is_refused(node):
    fixed = build(
        compose(["model=voxelmorph", "model.encoder=[4]", "model.decoder=[]", "model.out=[4]"]).model
    )
    with pytest.raises(CompositionError, match="VoxelMorph takes no λ"):
        task_at(node, model=fixed, smoothness=0.5)
    with pytest.raises(CompositionError, match="one λ for the whole pair"):
        task_at(node, model=ShiftByWeight(4.0, takes_maps=False), label_smoothness={3: 0.5})
    unlabelled = {key: value for key, value in batch().items() if key != "fixed_label"}
    with pytest.raises(CompositionError, match="no label map"):
        task_at(node, label_smoothness={3: 0.5}).register(unlabelled)
