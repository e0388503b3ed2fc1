"""The same composition finds the same run folder; another one finds another."""

from __future__ import annotations

import functools

import pytest

from medreg.config.compose import compose
from medreg.config.identity import run_name


@functools.cache
def name(*overrides):
    return run_name(compose(list(overrides), with_hydra=True))


def test_same_composition_same_name():
    assert name("model=voxelmorph") == name.__wrapped__("model=voxelmorph")


@pytest.mark.parametrize(
    "override", ["seed=2", "optimiser.lr=0.5", "model=voxelmorph", "+trainer.fast_dev_run=true"]
)
def test_what_changes_the_result_changes_the_name(override):
    assert name(override) != name()


@pytest.mark.parametrize(
    "override",
    ["mode=test", "logger=none", "paths.outputs=elsewhere", "resume=never", "tags=[a]", "ckpt=last"],
)
def test_what_does_not_change_the_result_keeps_the_name(override):
    assert name(override) == name()


def test_evaluating_another_checkpoint_is_another_run():
    assert name("ckpt=outputs/some_run") != name()


def test_name_is_readable():
    assert name("model=voxelmorph", "seed=3").startswith("voxelmorph_cardiac_phantom_s3_")


def test_paper_protocol_reaches_model_loss_and_metrics():
    cfg = compose(["protocol=gradirn_paper"])
    assert cfg.model.convention == "authors"
    assert cfg.model.regulariser.last_layer_scale == 1.0
    assert cfg.task.energy.padding == "zeros"
    assert cfg.regularisation.units == "voxel"
    assert (cfg.metrics.jacobian, cfg.metrics.surface_definition) == ("authors", "itk_avg_hd")
    assert (cfg.metrics.convention, cfg.metrics.image_padding) == ("authors", "zeros")
