"""Values of training that are logged once an epoch: means weighted by the batches."""

from __future__ import annotations

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from medreg.config.compose import compose
from medreg.config.instantiate import build
from medreg.tasks.epoch_means import EpochMeans

TINY = ("model=voxelmorph", "model.encoder=[4,4]", "model.decoder=[4]", "model.out=[4]", "logger=none")


def test_means_are_weighted_and_taken_once():
    means = EpochMeans()
    means.add({"loss": torch.tensor(1.0, requires_grad=True)}, size=3)
    means.add({"loss": torch.tensor(5.0)}, size=1)
    found = means.take()["loss"]
    assert found == 2.0
    assert not found.requires_grad
    assert means.take() == {}


def batch(size):
    images = torch.rand(2, size, 1, 16, 16, generator=torch.Generator().manual_seed(size))
    return {"fixed_image": images[0], "moving_image": images[1], "case": ["a"] * size}


def loader(*sizes):
    return DataLoader([batch(size) for size in sizes], batch_size=None)


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.parametrize("limit", [{"max_epochs": 1}, {"max_steps": 2}])
def test_lightning_gets_the_mean_of_the_epoch(limit):
    task, losses = build(compose([*TINY, "data.ndim=2"]).task), []
    original = task.loss

    def recorded(data, registration):
        value = original(data, registration)
        if task.training:
            losses.append((float(value.total.detach()), len(data["case"])))
        return value

    task.loss = recorded
    trainer = pl.Trainer(
        **limit, logger=False, accelerator="cpu", enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(task, loader(3, 1, 2), loader(1))
    weights = sum(size for _, size in losses)
    assert len(losses) == (2 if "max_steps" in limit else 3)
    mean = sum(loss * size for loss, size in losses) / weights
    assert float(trainer.callback_metrics["train/loss"]) == pytest.approx(mean, rel=1e-6)
