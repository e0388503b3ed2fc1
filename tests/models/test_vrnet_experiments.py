"""VR-Net's configurations compose and build, and it takes any similarity and transformation."""

from __future__ import annotations

import pytest
import torch
from registration_pairs import off_lattice

from medreg.config.compose import compose
from medreg.config.instantiate import build

# Parameters of the authors' cascades (their released code), ours four warps in 2-D: init + 4 (denoiser + 1).
COUNTS = {
    "vrnet_phantom": 1_898_244,
    "vrnet_acdc": 759_297,
    "vrnet_ukbb": 759_297,
    "vrnet_volumes": 2_237_113,
}


@pytest.mark.parametrize(("experiment", "parameters"), COUNTS.items())
def test_experiments_build(experiment, parameters):
    task = build(compose([f"experiment={experiment}"]).task)
    assert sum(p.numel() for p in task.model.parameters()) == parameters
    assert task.model.data_term == "l2"


def test_the_released_form():
    model = build(compose(["model=vrnet_release", "data=brain_phantom"]).task).model
    assert (model.n_warp, model.n_iter, model.convention, model.padding) == (1, 1, "midir", "zeros")
    assert float(model.couplings[0]().detach()) == 1.0
    assert not model.denoisers[0].residual


@pytest.mark.parametrize("transformation", ["svf", "ffd", "dense"])
@pytest.mark.parametrize("data_term", ["l1", "l2"])
def test_any_similarity_and_transformation(transformation, data_term):
    overrides = [
        "experiment=vrnet_phantom", f"transformation={transformation}", "similarity=lncc", "similarity.window=5",
        "model.start_channels=2", "model.denoiser.start_channels=2", "model.n_warp=2", f"model.data_term={data_term}",
    ]  # fmt: skip
    torch.manual_seed(3)
    task = build(compose(overrides).task)
    fixed, moving = (image.float() for image in off_lattice((32, 48)))
    batch = {"fixed_image": fixed, "moving_image": moving, "spacing_mm": torch.ones(1, 2), "case": ["one"]}
    loss = task.loss(batch, task.register(batch)).total
    loss.backward()
    gradients = [p.grad for p in task.model.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
    assert float(task.model.couplings[0].parameter.grad.abs()) > 0
