"""Training of CHeart: the loss falls, a resumed run is the same run, what is asked of a case reaches its result."""

from __future__ import annotations

import pytest
import pytorch_lightning as pl
import torch
from beating_hearts import BeatingHearts, CountingEvaluator, heart_batch, scaled_conditions, small_cheart

from medreg.errors import CompositionError, NumericalError
from medreg.losses.generative.cheart import CHeartLoss
from medreg.models.hearts.condition import Category
from medreg.models.hearts.conditions import Conditions
from medreg.tasks.hearts.generation import GenerationTask
from medreg.tasks.hearts.sequence_case import SequenceEvaluation

pytestmark = pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers")
LOSS = {
    "beta": 0.01,
    "frame_weights": "none",
    "class_weights": None,
    "kl_reduction": "mean",
    "beta_warmup_epochs": 0,
    "frames_per_step": 3,
    "displacement_weight": 0.01,
}


def task_of(model=None, *, samples=2, completion_samples=2, completion="mean", **loss):
    evaluation = SequenceEvaluation(
        CountingEvaluator(), samples=samples, completion_samples=completion_samples, completion=completion
    )
    return GenerationTask(
        model or small_cheart(),
        CHeartLoss(**{**LOSS, **loss}),
        evaluation=evaluation,
        optimiser=lambda parameters: torch.optim.Adam(parameters, lr=5e-3),
        name="cheart",
        seed=3,
    )


def trainer_of(folder, *callbacks, epochs=1, **options):
    return pl.Trainer(
        default_root_dir=folder,
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
        log_every_n_steps=1,
        num_sanity_val_steps=0,
        **options,
    )


def weights(task):
    return torch.cat([value.flatten().float() for value in task.state_dict().values()])


def test_the_loss_falls_and_what_is_logged(tmp_path):
    task, trainer = task_of(), trainer_of(tmp_path, epochs=6)
    trainer.fit(task, BeatingHearts())
    found = trainer.callback_metrics
    assert {f"{part}/{name}" for part in ("train", "val") for name in ("loss", "ce", "kl")} <= set(found)
    assert float(found["train/ce"]) < 0.6  # ln 4 = 1.386 before it has learned
    assert float(found["val/loss"]) == pytest.approx(
        float(found["val/ce"]) + 0.01 * float(found["val/kl"]), rel=1e-4
    )
    assert 0 <= float(found["val/active_dimensions"]) <= 6
    assert float(task.model.conditions.low[0]) < 50 < 75 < float(task.model.conditions.high[0])
