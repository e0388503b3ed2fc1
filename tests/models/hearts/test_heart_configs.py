"""Every model of hearts composes with the heart population, builds, and its weights fit themselves."""

from __future__ import annotations

import functools
import pickle

import pytest
import torch
from heart_configs import HEART_MODELS

from medreg.config.compose import compose
from medreg.config.instantiate import build
from medreg.models.hearts.base import AgeingModel, ShapeModel
from medreg.models.hearts.fitted import FittedModel


@functools.cache
def model_of(name: str) -> ShapeModel:
    torch.manual_seed(0)
    cfg = compose([f"model={name}", "data=heart_population"])
    if "ageing" in str(cfg.task._target_):
        cfg = compose([f"model={name}", "data=heart_population_visits"])
    model = build(cfg.model)
    assert isinstance(model, ShapeModel)
    return model.eval()


def people(model: ShapeModel, count: int) -> dict[str, torch.Tensor]:
    known = {"age_years": 60.0, "sex": 1.0, "height_cm": 175.0, "weight_kg": 80.0, "sbp_mmhg": 135.0}
    return {name: torch.full((count,), value) for name, value in known.items()}


def test_there_are_models_of_hearts():
    assert {"cheart", "pca", "copy_ed", "mean_shape", "cvae_frame", "cgan_seq", "cvae_gan_seq"} <= set(
        HEART_MODELS
    )


@pytest.mark.parametrize("name", HEART_MODELS)
def test_it_builds_for_the_grid_of_the_data_and_answers(name):
    model = model_of(name)
    assert model.size == (32, 32, 16)
    assert model.classes == 4
    if isinstance(model, FittedModel) and model.trainable:
        return  # it answers once it is fitted
    told = people(model, 2)
    first = torch.zeros(2, *model.size, dtype=torch.uint8)
    first[:, 10:20, 10:20, 4:12] = 1
    if isinstance(model, AgeingModel):
        return  # see tests of the ageing heart
    if model.completes:
        found = model.complete(first, told)
        assert found.shape == (2, model.frames, *model.size)
        assert found.dtype == torch.uint8
    if model.generates:
        found = model.generate(told, generator=torch.Generator().manual_seed(1))
        assert found.shape == (2, model.frames, *model.size)
        assert int(found.max()) <= 3


@pytest.mark.parametrize("name", HEART_MODELS)
def test_it_pickles(name):
    """As processes that load data and several devices need it."""
    model = model_of(name)
    copy = pickle.loads(pickle.dumps(model))
    weights = copy.state_dict()
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())
