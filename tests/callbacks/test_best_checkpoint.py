"""Which metric chooses the best checkpoint."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from medreg.callbacks.checkpoint import BestCheckpoint
from medreg.errors import ConfigError


def trainer(*logged):
    """What a checkpoint asks of a trainer in a validation during a training."""
    metrics = {name: torch.tensor(torch.nan) for name in logged}
    return SimpleNamespace(sanity_checking=False, training=True, callback_metrics=metrics)


def test_a_misspelt_metric_is_refused():
    best = BestCheckpoint(monitor="val/dice_maen", mode="max")
    with pytest.raises(
        ConfigError, match=r"monitor=val/dice_maen: .* mean 'val/dice_mean'\? There are val/dice_mean"
    ):
        best.on_validation_end(trainer("val/loss", "val/dice_mean", "train/loss"), None)


def test_data_without_labels_are_judged_by_the_loss():
    best = BestCheckpoint(monitor="val/dice_mean", mode="max")
    best.on_validation_end(trainer("val/loss", "val/similarity"), None)
    assert (best.monitor, best.mode) == ("val/loss", "min")


@pytest.mark.parametrize(("score", "kept"), [(None, "val/iou_mean"), (0.5, "val/dice_mean")])
def test_a_corrected_metric_counts_until_there_is_a_score(score, kept):
    best = BestCheckpoint(monitor="val/iou_mean", mode="max")
    best.load_state_dict({"score": score, "monitor": "val/dice_mean", "mode": "max"})
    assert best.monitor == kept
