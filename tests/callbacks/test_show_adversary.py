"""After a training with an adversary there is a picture of what it did; without one there is nothing."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from labelled_images import LABELS, labelled_batch
from torch import nn

from medreg.augmentation.adversary import AdvChain
from medreg.callbacks.adversary import ShowAdversary
from medreg.metrics.segmentation import SegmentationEvaluator
from medreg.reporting.adversary_pictures import adversary, draw
from medreg.reporting.results import read_run
from medreg.tasks.segmentation import SegmentationTask


def task_of(adversary, ndim=2):
    torch.manual_seed(0)
    layer = nn.Conv2d if ndim == 2 else nn.Conv3d
    evaluator = SegmentationEvaluator(LABELS)
    task = SegmentationTask(
        layer(1, 3, 3, padding=1), nn.CrossEntropyLoss(), evaluator=evaluator, multiple=16
    )
    task.augmentation = SimpleNamespace(consistency=SimpleNamespace(adversary=adversary))
    return task


def end(folder, task, batches):
    trainer = SimpleNamespace(is_global_zero=True, val_dataloaders=batches, default_root_dir=folder)
    ShowAdversary().on_fit_end(trainer, task)


def test_a_slice_is_kept_and_drawn(tmp_path):
    task = task_of(AdvChain.paper(2))
    task.train()
    batch = labelled_batch(1, slices=3, shape=(48, 40))
    batch["label"][[0, 2]] = 0
    end(tmp_path, task, [{**batch, "label": batch["label"] * 0}, batch])
    assert task.training
    with np.load(tmp_path / "adversary" / "attack.npz") as arrays:
        assert arrays["names"].tolist() == ["Noise", "BiasField", "Morph", "AffineMap", "intensity"]
        assert arrays["stages"].shape == (5, 48, 40)
        assert np.array_equal(arrays["image"], batch["image"][1, 0].numpy())
        assert set(np.unique(arrays["before"])) <= {0, 2, 5}
        assert float(arrays["end"]) > 0
    (tmp_path / "run.json").write_text('{"labels": {"cavity": 2, "wall": 5}}')
    (section,) = adversary(read_run(tmp_path))
    assert section.title == "What the adversary did"
    assert len(section.pictures[0].png) > 10_000
    assert "c1" in section.pictures[0].caption


def test_of_a_volume_the_slice_that_differs_most(tmp_path):
    batch = labelled_batch(1, slices=16, shape=(32, 32))
    volume = {
        **batch,
        **{key: batch[key].permute(1, 2, 3, 0)[None] for key in ("image", "label")},
        "spacing_mm": torch.ones(1, 3),
        "case": ["c1"],
    }
    end(tmp_path, task_of(AdvChain.paper(3), ndim=3), [volume])
    with np.load(tmp_path / "adversary" / "attack.npz") as arrays:
        assert arrays["image"].shape == (32, 32)
        assert arrays["spacing_mm"].shape == (2,)


def test_without_an_adversary_or_labels_nothing_is_written(tmp_path):
    end(tmp_path, task_of(None), [labelled_batch(1)])
    batch = labelled_batch(1)
    end(tmp_path, task_of(AdvChain.paper(2)), [{**batch, "label": batch["label"] * 0}])
    assert list(tmp_path.iterdir()) == []
    assert list(adversary(SimpleNamespace(path=tmp_path))) == []


def test_a_failure_does_not_cost_the_training(tmp_path, caplog):
    broken = labelled_batch(1)
    broken["image"][:] = torch.nan
    end(tmp_path, task_of(AdvChain.paper(2)), [broken])
    assert "could not be kept" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_arrays_of_different_shape_are_refused():
    flat, names = np.zeros((4, 4)), ("image", "label", "before", "after", "divergence")
    arrays = dict.fromkeys(names, flat) | {"stages": np.zeros((2, 5, 4)), "names": np.array(["a", "b"])}
    with pytest.raises(ValueError, match="shapes"):
        draw(arrays, {})
