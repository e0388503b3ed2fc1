"""Models made of trained runs."""

from __future__ import annotations

import pytest
import torch

from medreg.config.compose import compose
from medreg.config.instantiate import build
from medreg.errors import CheckpointError, ConfigError
from medreg.models.voxelmorph import VoxelMorph
from medreg.runs.trust import check_configuration

SMALL = ["model=voxelmorph", "++data.ndim=2", "model.encoder=[4,4]", "model.decoder=[4]", "model.out=[4]"]


def tiny_run(folder, seed):
    """Write a run of VoxelMorph with random weights."""
    from omegaconf import OmegaConf

    torch.manual_seed(seed)
    config = OmegaConf.to_container(compose([*SMALL, "model.last_layer_scale=1.0"]), resolve=True)
    model = build(config["model"])
    (folder / "checkpoints").mkdir(parents=True)
    state = {f"model.{name}": value for name, value in model.state_dict().items()}
    content = {"state_dict": state, "medreg": {"config": config, "overrides": []}}
    torch.save(content, folder / "checkpoints" / "best.ckpt")
    return model.eval()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folders = [tmp_path_factory.mktemp(f"run{k}") for k in range(2)]
    return folders, [tiny_run(folder, k) for k, folder in enumerate(folders)]


def images():
    return torch.rand(2, 1, 1, 12, 14, generator=torch.Generator().manual_seed(0)).unbind(0)


def test_an_ensemble_of_runs_answers_with_its_members(runs):
    folders, models = runs
    config = compose(["model=ensemble", f"model.runs=[{folders[0]},{folders[1]}]"]).model
    ensemble = build(config)
    answer = ensemble(*images())
    for sample, model in zip(answer.samples, models, strict=True):
        torch.testing.assert_close(sample, model(*images()).displacement)
    torch.testing.assert_close(answer.displacement, answer.samples.mean(0))


def test_equivariance_of_a_run(runs):
    folders, models = runs
    model = build(compose(["model=equivariance", f"model.run={folders[0]}", "model.samples=3"]).model)
    assert isinstance(model.model, VoxelMorph)
    answer = model.eval()(*images())
    torch.testing.assert_close(answer.displacement, models[0](*images()).displacement)
    assert answer.samples.shape == (3, 1, 2, 12, 14)
    assert float(answer.std().min()) > 0


def test_a_run_of_them_may_be_opened_again(runs):
    folders, _ = runs
    for options in (
        ["model=ensemble", f"model.runs=[{folders[0]},{folders[1]}]"],
        ["model=equivariance", f"model.run={folders[0]}"],
    ):
        node = compose(options).model
        plain = {key: value for key, value in node.items() if key != "seed"}
        check_configuration({"model": plain}, "here")


def test_what_is_missing_is_said(runs, tmp_path):
    with pytest.raises(ConfigError, match=r"model\.runs=\[RUN,RUN\]"):
        build(compose(["model=ensemble"]).model)
    with pytest.raises(ConfigError, match=r"model\.run=RUN"):
        build(compose(["model=equivariance"]).model)
    with pytest.raises(CheckpointError):
        build(compose(["model=ensemble", f"model.runs=[{runs[0][0]},{tmp_path}]"]).model)
