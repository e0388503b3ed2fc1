"""Every configs/model/*.yaml composes, builds, runs forward and backward, pickles and restores weights."""

from __future__ import annotations

import functools
import pickle
from pathlib import Path

import pytest
import torch
from heart_configs import HEART_MODELS

from medreg.config.compose import compose
from medreg.config.instantiate import build
from medreg.models.base import RegistrationModel

SEGMENTATIONS = {"unet", "unet_16", "unet_single", "unet_dropout", "unet_ensemble", "unet_variational"}
OTHERS = {
    "mad",  # a distance; none of these registers by itself
    *SEGMENTATIONS,
    "ensemble",  # made of trained runs, like equivariance, see tests/runs/test_members.py
    "equivariance",
    "learned_similarity",  # trains a similarity, not a field, see tests/tasks/test_similarity_learning.py
}
NAMES = sorted(
    {file.stem for file in (Path(__file__).resolve().parents[2] / "configs" / "model").glob("*.yaml")}
    - OTHERS
    - set(HEART_MODELS)  # see tests/models/hearts/test_heart_configs.py
)
SHORT = "{shrink: 2, sigma: 1.0, iterations: 2, learning_rate: 0.1}"
SMALL = {
    "affine": [f"model.levels=[{SHORT}]"],
    "affine_refined": [f"model.levels=[{SHORT}]", f"model.refine.levels=[{SHORT}]"],
    "greedy": [f"model.levels=[{SHORT}]"],
    "optimise": [f"model.levels=[{SHORT}]"],
    "vrnet_release": ["model.convention=exact"],  # the released sampler takes sizes divisible by 16
}


@functools.cache
def composed(*overrides):
    return compose(list(overrides)).model


def from_config(name, ndim, *overrides):
    torch.manual_seed(0)
    return build(composed(f"model={name}", f"++data.ndim={ndim}", *SMALL.get(name, []), *overrides))


def images(ndim):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 2, 1, *((20, 24) if ndim == 2 else (12, 10, 14)), generator=generator).unbind(0)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_builds_and_registers(name, ndim):
    model = from_config(name, ndim)
    assert isinstance(model, RegistrationModel)
    fixed, moving = images(ndim)
    answer = model(fixed, moving, spacing_mm=torch.ones(2, ndim))
    assert answer.displacement.shape == (2, ndim, *fixed.shape[2:])
    assert torch.isfinite(answer.displacement).all()
    if model.trainable:
        answer.displacement.square().sum().backward()
        assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())
    else:
        assert not list(model.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_pickles_and_restores(name):
    model = from_config(name, 2).eval()  # in training some answer with a sample
    fixed, moving = images(2)
    copied = pickle.loads(pickle.dumps(model))
    expected = model(fixed, moving).displacement
    torch.testing.assert_close(copied(fixed, moving).displacement, expected)
    other = from_config(name, 2).eval()
    for parameter in other.parameters():
        parameter.data.add_(1.0)
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other(fixed, moving).displacement, expected)
    assert repr(model)


def test_optimise_takes_any_composition():
    model = from_config("optimise", 2, "similarity=mind", "regularisation=bending", "transformation=ffd")
    names = [type(part).__name__ for part in (model.energy.similarity, model.energy.regularisation)]
    assert names == ["MINDSSC", "Bending"]
    assert type(model.transformation).__name__ == "FreeForm"


def test_authors_protocol_reaches_gradirn():
    model = from_config("gradirn", 2, "protocol=gradirn_paper")
    assert model.convention == "authors"
    assert model.architecture.last_layer_scale == 1.0
