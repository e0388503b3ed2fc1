"""Runs of every kind of segmentation open from what their training leaves, and answer the same twice."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from medreg.config.compose import compose
from medreg.config.instantiate import build
from medreg.segmenting.run import SegmentationRun

DATA = ["data=acdc_segmentation", "data.preprocess.size=[48,48]"]
SMALL = ["model.channels=[4,8]", "model.strides=[2]"]
KINDS = {
    "adversary and teacher": ["model=unet", *SMALL, "augmentation=advchain", "semi=mean_teacher"],
    "average": ["model=unet", *SMALL, "augmentation=mixup", "task.ema=0.9"],
    "dropout": [
        "model=unet_dropout", "model.network.channels=[4,8]", "model.network.strides=[2]",
        "model.network.dropout=0.3", "task.draws=2",
    ],
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_run_opens_and_answers_the_same_twice(tmp_path, kind):
    cfg = compose([*KINDS[kind], *DATA])
    task = build(cfg.task)
    weights = {f"model.{name}": value for name, value in task.model.state_dict().items()}
    (tmp_path / "checkpoints").mkdir()
    torch.save({"state_dict": weights, "medreg": {}}, tmp_path / "checkpoints" / "best.ckpt")
    resolved = OmegaConf.create(OmegaConf.to_container(cfg, resolve=True))
    (tmp_path / "config.yaml").write_text(OmegaConf.to_yaml(resolved))
    run = SegmentationRun.open(tmp_path)
    assert run.labels == {"LV": 3, "MYO": 2, "RV": 1}
    assert not run.task.model.training
    image = np.random.default_rng(0).random((50, 44, 2), dtype=np.float32)
    first, second = (run.segment(image, probabilities=True) for _ in range(2))
    assert np.array_equal(first.probabilities, second.probabilities)
    assert np.allclose(first.probabilities.sum(0), 1, atol=1e-5)
