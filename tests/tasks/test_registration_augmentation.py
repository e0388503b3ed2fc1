"""Registration networks trained on transformed pairs: which tasks, what is added to the loss, the same bits again."""

from __future__ import annotations

import copy
import functools

import pytest
import pytorch_lightning as pl
import torch
import yaml
from omegaconf import OmegaConf
from small_run import arguments, tiny_acdc, trained

from medreg.config.compose import compose
from medreg.config.instantiate import build
from medreg.errors import CompositionError

SMALL = {
    "voxelmorph": ["model.encoder=[4,4]", "model.decoder=[4]", "model.out=[4]"],
    "gradirn": ["model.num_repeat=[1,1,1]", "model.regulariser.channels=4", "model.regulariser.layers=2"],
    "csain": ["model.start_channels=1", "model.blocks=1"],
    "lapirn": ["model.start_channels=1", "model.blocks=1"],
}
CHAIN = "augmentation=advchain"


@functools.cache
def composed(*choices):
    return compose([*choices, "logger=none", "data.ndim=2"])


def task_of(*overrides):
    """A task; choices of options (without a dot) are composed once, keys are set in a copy."""
    torch.manual_seed(0)
    config = copy.deepcopy(composed(*(one for one in overrides if "." not in one.split("=")[0])))
    for key, value in (one.split("=", 1) for one in overrides if "." in one.split("=")[0]):
        OmegaConf.update(config, key, yaml.safe_load(value), force_add=True)
    task = build(config.task)
    task.evaluator.labels = {"one": 1, "two": 2}
    return task


def batch(seed=0):
    generator = torch.Generator().manual_seed(seed)
    smooth = torch.nn.functional.avg_pool2d
    images = [smooth(torch.rand(2, 1, 32, 32, generator=generator), 5, 1, 2) for _ in range(2)]
    return {
        "fixed_image": images[0],
        "moving_image": images[1],
        "fixed_label": (3 * images[0]).long(),
        "moving_label": (3 * images[1]).long(),
        "spacing_mm": torch.ones(2, 2),
        "case": ["a", "b"],
    }


def step_of(task, data=None):
    torch.manual_seed(0)
    return task.training_step(data or batch(), 0)


@pytest.mark.parametrize("model", ["voxelmorph", "gradirn", "csain", "lapirn"])
def test_a_network_learns_from_transformed_pairs(model):
    task = task_of(f"model={model}", CHAIN, *SMALL[model])
    plain = step_of(task_of(f"model={model}", *SMALL[model]))
    loss = step_of(task)
    loss.backward()
    means = task.train_means.take()
    assert float(means["transformed"]) != 0
    torch.testing.assert_close(loss.detach(), plain.detach() + means["transformed"])
    gradients = [p.grad for p in task.model.parameters() if p.grad is not None]
    assert gradients
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_a_network_of_samples_learns_from_transformed_pairs():
    small = ["model.encoder=[4,4]", "model.decoder=[4,4,4]"]
    task = task_of("model=voxelmorph_probabilistic", "augmentation=random_chain", *small)
    loss = step_of(task)
    assert torch.isfinite(loss)
    assert "transformed" in task.train_means.take()


@pytest.mark.parametrize("model", ["voxelmorph", "csain"])
def test_without_augmentation_nothing_changes_and_before_the_first_epoch_neither(model):
    plain = step_of(task_of(f"model={model}", "augmentation=none", *SMALL[model]))
    waiting = task_of(f"model={model}", CHAIN, *SMALL[model], "augmentation.consistency.first_epoch=5")
    assert torch.equal(step_of(waiting), plain)
    assert "transformed" not in waiting.train_means.take()


def test_the_weight_is_that_of_the_epoch():
    half = [CHAIN, "augmentation.consistency.weight=0.5", "model=voxelmorph", *SMALL["voxelmorph"]]
    whole, other = task_of("model=voxelmorph", CHAIN, *SMALL["voxelmorph"]), task_of(*half)
    step_of(whole), step_of(other)
    ratio = float(other.train_means.take()["transformed"]) / float(whole.train_means.take()["transformed"])
    assert ratio == pytest.approx(0.5, rel=1e-5)


def test_validation_sees_pairs_as_they_are():
    data = {key: value[:1] for key, value in batch().items()}
    found = []
    for choice in ("augmentation=none", CHAIN):
        task = task_of("model=voxelmorph", choice, *SMALL["voxelmorph"]).eval()
        torch.manual_seed(0)
        task.validation_step(data, 0)
        found.append({name: float(mean.compute()) for name, mean in task._validation.items()})
    assert found[0] == found[1]


def test_what_has_no_meaning_here_is_refused():
    with pytest.raises(CompositionError, match=r"of labelled images.*augmentation=random_chain"):
        task_of("model=voxelmorph", "augmentation=mixup")
    with pytest.raises(CompositionError, match="is not trained"):
        task_of("model=identity", CHAIN)


def fit(task, epochs, *, folder=None, ckpt=None):
    trainer = pl.Trainer(
        max_epochs=epochs, logger=False, accelerator="cpu", enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    loader = torch.utils.data.DataLoader([batch(seed) for seed in range(2)], batch_size=None)
    trainer.fit(task, loader, ckpt_path=ckpt, weights_only=True)
    if folder is not None:
        trainer.save_checkpoint(folder / "last.ckpt")
    return torch.cat([p.detach().flatten() for p in task.model.parameters()])


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_stopped_training_goes_on_bit_by_bit(tmp_path):
    words = ["model=voxelmorph", CHAIN, *SMALL["voxelmorph"]]
    whole = fit(task_of(*words), 3)
    part = fit(task_of(*words), 1, folder=tmp_path)
    again = fit(task_of(*words), 3, ckpt=tmp_path / "last.ckpt")
    assert torch.equal(again, whole)
    assert not torch.equal(part, whole)


@pytest.mark.slow
def test_from_the_command_line(tmp_path):
    data = tiny_acdc(tmp_path / "data")
    folder = trained(tmp_path / "run", arguments(data, CHAIN, "data.loader.repeat=1"))
    history = (folder / "history.csv").read_text()
    assert "train/transformed" in history
    assert "val/transformed" not in history
    assert (folder / "results.csv").stat().st_size > 0
