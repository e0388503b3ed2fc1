"""A search ends the trainings whose validation is worse than that of others, whichever direction is better."""

from __future__ import annotations

from types import SimpleNamespace

import optuna
import pytest
import torch

from hydra_plugins.medreg_sweepers.search import STUDY, storage_of
from medreg.callbacks.checkpoint import BestCheckpoint
from medreg.callbacks.pruning import Pruned, Pruning


def validate(folder, monitor, values):
    """Run the validations of one more trial, one an epoch."""
    study = optuna.load_study(study_name=STUDY, storage=storage_of(folder))
    trial = study.ask()
    pruner = optuna.pruners.MedianPruner(n_startup_trials=1)
    callback = Pruning(study=str(folder), trial=trial.number, pruner=pruner)
    mode = "min" if monitor == "val/loss" else "max"
    trainer = SimpleNamespace(
        callbacks=[BestCheckpoint(monitor=monitor, mode=mode)], sanity_checking=False, callback_metrics={}
    )
    callback.on_fit_start(trainer, None)
    for epoch, value in enumerate(values):
        trainer.current_epoch = epoch
        trainer.callback_metrics[monitor] = torch.tensor(value)
        callback.on_validation_end(trainer, None)
    study.tell(trial, 1.0)


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
@pytest.mark.parametrize(
    ("monitor", "good", "bad"), [("val/dice_mean", 0.8, 0.2), ("val/loss", 0.1, 3.0)], ids=["dice", "loss"]
)
def test_the_worse_training_is_ended(direction, monitor, good, bad, tmp_path):
    optuna.create_study(study_name=STUDY, storage=storage_of(tmp_path), direction=direction)
    validate(tmp_path, monitor, [0.5, 0.5])
    validate(tmp_path, monitor, [good, good])
    with pytest.raises(Pruned, match="epoch 1"):
        validate(tmp_path, monitor, [bad, bad])
