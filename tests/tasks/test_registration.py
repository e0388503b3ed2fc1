"""The parts compose freely: any model with any similarity, regulariser and transformation that fits takes a step."""

from __future__ import annotations

import pytest
import torch
from tiny_distance import tiny_distance

from medreg.config.compose import compose
from medreg.config.instantiate import build
from medreg.config.listing import options
from medreg.errors import CompositionError, ConfigError, NumericalError

SMALL = {
    "gradirn": ["model.num_repeat=[1,1,1]", "model.regulariser.channels=4", "model.regulariser.layers=2"],
    "voxelmorph": ["model.encoder=[4,4]", "model.decoder=[4]", "model.out=[4]"],
    "midir": ["model.resize_channels=[4]", "transformation=svffd"],
}


def batch(ndim=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (22, 26, 18)[:ndim]
    smooth = torch.nn.functional.avg_pool2d if ndim == 2 else torch.nn.functional.avg_pool3d
    images = [smooth(torch.rand(2, 1, *shape, generator=generator), 3, 1, 1) for _ in range(2)]
    return {
        "fixed_image": images[0],
        "moving_image": images[1],
        "spacing_mm": torch.tensor([[1.5, 1.2, 4.0][:ndim]] * 2),
        "case": ["a", "b"],
    }


def task_of(*overrides, ndim=2):
    return build(compose([*overrides, f"data.ndim={ndim}", "logger=none"]).task)


def assert_takes_a_step(task, data):
    loss = task.training_step(data, 0)
    loss.backward()
    gradients = [p.grad for p in task.model.parameters() if p.grad is not None]
    assert torch.isfinite(loss)
    assert gradients
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("model", ["gradirn", "voxelmorph"])
@pytest.mark.parametrize("similarity", sorted(options()["similarity"]))
def test_any_similarity(model, similarity, tmp_path):
    trained = [f"similarity.ckpt={tiny_distance(tmp_path)}"] if similarity == "mad" else []
    if similarity.startswith("learned"):
        trained = ["similarity.ckpt=fresh", "similarity.ndim=2"]
    assert_takes_a_step(
        task_of(f"model={model}", f"similarity={similarity}", *SMALL[model], *trained), batch()
    )


@pytest.mark.parametrize("regularisation", sorted(options()["regularisation"]))
def test_any_regulariser(regularisation):
    assert_takes_a_step(
        task_of("model=voxelmorph", f"regularisation={regularisation}", *SMALL["voxelmorph"]), batch()
    )


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("transformation", ["dense", "svf", "ffd", "svffd"])
def test_any_transformation_in_gradirn(transformation, ndim):
    task = task_of("model=gradirn", f"transformation={transformation}", *SMALL["gradirn"], ndim=ndim)
    assert_takes_a_step(task, batch(ndim))


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("model", ["voxelmorph", "midir"])
def test_networks_in_two_and_three_dimensions(model, ndim):
    assert_takes_a_step(task_of(f"model={model}", *SMALL[model], ndim=ndim), batch(ndim))


@pytest.mark.parametrize("transformation", ["dense", "svf", "affine"])
def test_impossible_transformation_is_refused_with_what_fits(transformation):
    with pytest.raises((CompositionError, ConfigError), match="transformation=svffd"):
        task_of("model=midir", f"transformation={transformation}")


def test_energy_that_is_not_finite_names_the_cases():
    task = task_of("model=voxelmorph", *SMALL["voxelmorph"])
    data = batch()
    data["fixed_image"][0, 0, 0, 0] = torch.nan
    with pytest.raises(NumericalError, match="a, b"):
        task.training_step(data, 0)


def test_a_model_without_parameters_needs_no_optimiser():
    task = task_of("model=identity")
    assert not task.trainable
    assert task.configure_optimizers() is None


def test_optimiser_options_that_do_not_fit_are_explained():
    with pytest.raises(ConfigError, match="optimiser"):
        task_of("model=voxelmorph", "optimiser.lr=-1", *SMALL["voxelmorph"]).configure_optimizers()
