"""Training of the ageing heart: it learns, logs its terms, a resumed run is the same run, and what is refused."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import ClassVar

import pytest
import pytorch_lightning as pl
import torch
from beating_hearts import loader
from small_ageing import ageing_batch, ageing_loss, small_ageheart

from medreg.callbacks.checkpoint import BestCheckpoint, LastCheckpoint
from medreg.callbacks.random_state import RandomState
from medreg.errors import CompositionError, ConfigError
from medreg.tasks.hearts.ageing import AgeingTask, mean_dice

pytestmark = pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers")
TERMS = {
    "loss", "rec", "ez", "gi", "gi_target", "age", "age_target", "cyc", "classifier", "classifier_accuracy", "dz",
    "dz_accuracy", "di", "di_accuracy", "age_weight",
}  # fmt: skip


class Hearts(pl.LightningDataModule):
    """Three batches of six for training, two hearts for validation."""

    categories: ClassVar = {}

    def __init__(self, size=6):
        super().__init__()
        self.batches = [ageing_batch(size, seed=seed) for seed in range(3)]

    def training_covariates(self):
        return self.batches[0]["covariates"]

    def train_dataloader(self):
        return loader(self.batches)

    def val_dataloader(self):
        return loader([ageing_batch(1, seed=seed) for seed in (100, 101)])


def task_of(mode="intended", *, model=None, clip_norm=None, scheduler=None, **loss):
    return AgeingTask(
        model or small_ageheart(mode=mode, start="he"),
        ageing_loss(mode, **loss),
        evaluation=SimpleNamespace(evaluator=SimpleNamespace(labels={})),
        optimiser=lambda parameters: torch.optim.Adam(parameters, lr=3e-3, weight_decay=1e-5),
        scheduler=scheduler,
        clip_norm=clip_norm,
        seed=3,
    )


def fit(task, folder, epochs, *, data=None, resume=False, **options):
    last = folder / "checkpoints" / "last.ckpt"
    trainer = pl.Trainer(
        default_root_dir=folder, max_epochs=epochs, accelerator="cpu", logger=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0,
        callbacks=[LastCheckpoint(), BestCheckpoint(monitor="val/loss", mode="min"), RandomState()], **options,
    )  # fmt: skip
    trainer.fit(task, data or Hearts(), ckpt_path=str(last) if resume else None, weights_only=True)
    return trainer


def weights(task):
    return torch.cat([value.flatten().float() for value in task.state_dict().values()])


def test_it_learns_and_logs_every_term(tmp_path):
    task = task_of()
    trainer = fit(task, tmp_path, 6)
    logged = {name.removeprefix("train/") for name in trainer.callback_metrics if name.startswith("train/")}
    assert logged == TERMS
    assert float(trainer.callback_metrics["train/rec"]) < 0.8  # ln 4 = 1.386 before it has learned
    shown = {name for name in trainer.callback_metrics if name.startswith("val/")}
    assert shown == {f"val/{name}" for name in ("loss", "rec", "cyc", "age", "age_target", "dice_mean")}
    rec, cyc, own, target = (
        float(trainer.callback_metrics[f"val/{name}"]) for name in ("rec", "cyc", "age", "age_target")
    )
    assert float(trainer.callback_metrics["val/loss"]) == pytest.approx(
        rec + 0.1 * cyc + 0.1 * (own + target), rel=1e-4
    )
    assert float(task.model.conditions.low[0]) < float(task.model.conditions.high[0])


@pytest.mark.parametrize("mode", ["intended", "released"])
def test_a_resumed_training_is_bit_identical(tmp_path, mode):
    whole = task_of(mode)
    fit(whole, tmp_path / "whole", 3)
    fit(task_of(mode), tmp_path / "parts", 1)
    resumed = task_of(mode, model=small_ageheart(mode=mode, start="he", seed=9))
    fit(resumed, tmp_path / "parts", 3, resume=True)
    assert torch.equal(weights(whole), weights(resumed))


def test_released_never_trains_the_encoder(tmp_path):
    task = task_of("released")
    before = {name: value.clone() for name, value in task.model.encoder.state_dict().items()}
    others = weights(task)
    fit(task, tmp_path, 4)  # 12 steps
    assert all(torch.equal(before[name], value) for name, value in task.model.encoder.state_dict().items())
    assert not torch.equal(others, weights(task))


def test_intended_trains_every_network(tmp_path):
    task = task_of()
    before = {name: value.clone() for name, value in task.model.named_parameters()}
    fit(task, tmp_path, 1)
    assert all(not torch.equal(before[name], value) for name, value in task.model.named_parameters())


def test_the_age_waits_and_the_best_checkpoint_with_it(tmp_path):
    task = task_of(age_after_epoch=1, age_ramp_epochs=1)
    trainer = fit(task, tmp_path, 2)
    assert float(trainer.callback_metrics["train/age_weight"]) == pytest.approx(0.05)
    assert "val/loss" not in trainer.callback_metrics
    assert not (tmp_path / "checkpoints" / "best.ckpt").exists()
    trainer = fit(task_of(age_after_epoch=1, age_ramp_epochs=1), tmp_path, 3, resume=True)
    assert float(trainer.callback_metrics["train/age_weight"]) == pytest.approx(0.1)
    assert (tmp_path / "checkpoints" / "best.ckpt").exists()


def test_schedules_step_once_an_epoch(tmp_path):
    task = task_of(scheduler=lambda optimiser: torch.optim.lr_scheduler.ExponentialLR(optimiser, 0.5))
    fit(task, tmp_path, 2)
    assert [optimiser.param_groups[0]["lr"] for optimiser in task.optimizers()] == pytest.approx(
        [3e-3 / 4] * 3
    )


def test_gradients_are_limited(tmp_path):
    norms = []

    class Watched(AgeingTask):
        def _step(self, optimiser, place):
            super()._step(optimiser, place)
            found = [p.grad.norm() for p in self.groups()[place] if p.grad is not None]
            norms.append(float(torch.stack(found).norm()))

    task = task_of(clip_norm=1e-3)
    task.__class__ = Watched
    fit(task, tmp_path, 1)
    assert len(norms) == 9  # three batches, three optimisers
    assert max(norms) <= 1.001e-3
    with pytest.raises(ConfigError, match=r"task.clip_norm is 0"):
        task_of(clip_norm=0.0)


def test_a_batch_of_one_heart_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(CompositionError, match=r"data.loader.batch_size=2 or more"):
        fit(task_of(), tmp_path, 1, data=Hearts(size=1))


def test_an_unknown_age_is_refused_with_its_name(tmp_path):
    data = Hearts()
    data.batches[0]["covariates"]["age_years"][2] = math.nan
    with pytest.raises(CompositionError, match=r"The age of s0_2 is unknown"):
        fit(task_of(), tmp_path, 1, data=data)


def test_mean_dice_of_known_overlaps():
    truth, found = (
        torch.zeros(1, 1, 4, 4, 4, dtype=torch.uint8),
        torch.zeros(1, 1, 4, 4, 4, dtype=torch.uint8),
    )
    truth[0, 0, 0] = 1
    found[0, 0, 0, :2] = 1  # half of it: Dice 2/3
    truth[0, 0, 1], found[0, 0, 1] = 2, 2
    found[0, 0, 3] = 3  # not in the truth
    assert float(mean_dice(truth, found, 3)) == pytest.approx((2 / 3 + 1) / 2)
