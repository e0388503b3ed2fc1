"""Fitting without an optimiser: one look at each heart, a checkpoint that holds the model, nothing twice."""

from __future__ import annotations

import pytest
import torch
from heart_training import Evaluation, train
from small_hearts import CLASSES, FRAMES, SIZE, conditions, hearts, people

from medreg.callbacks.tabular import read_rows
from medreg.io.checkpoint import apply_weights
from medreg.models.hearts.copy_first import CopyFirst
from medreg.models.hearts.mean_shape import MeanShape
from medreg.models.hearts.pca import HeartPCA
from medreg.tasks.hearts.fitted import FittedTask, mean_dice

GRID = {"frames": FRAMES, "classes": CLASSES, "size": SIZE}


def pca() -> HeartPCA:
    return HeartPCA(conditions(), **GRID, components=5, noise=None, conditional=True, half=True)


def task(model: torch.nn.Module) -> FittedTask:
    return FittedTask(model, evaluation=Evaluation())


@pytest.mark.parametrize("make", [pca, lambda: MeanShape(conditions(), **GRID)])
def test_a_fit_is_that_of_all_hearts_at_once_and_lives_in_the_checkpoint(tmp_path, make):
    shape = hearts(14)
    work = task(make())
    train(work, shape, tmp_path, 1)
    directly = make()
    directly.observe(shape[:-2], {name: values[:-2] for name, values in people(14).items()})
    directly.settle()
    for file in ("last.ckpt", "best.ckpt"):
        again = make()
        apply_weights(again, tmp_path / "checkpoints" / file)
        assert torch.equal(again.complete(shape[:, 0], {}), directly.complete(shape[:, 0], {}))
    names = {row["name"] for row in read_rows(tmp_path / "history.csv")}
    assert names == {"val/dice_mean", "val/loss"}


def test_a_second_epoch_finds_the_same(tmp_path):
    shape, found = hearts(14), []
    for epochs in (1, 2):
        work = task(MeanShape(conditions(), **GRID))
        train(work, shape, tmp_path / str(epochs), epochs)
        found.append(work.model.shape)
    assert torch.equal(*found)


def test_a_finished_fit_is_not_made_again(tmp_path, monkeypatch):
    shape = hearts(14)
    train(task(pca()), shape, tmp_path, 1)
    work = task(pca())
    monkeypatch.setattr(work.model, "observe", lambda *_: pytest.fail("looked at a heart again"))
    train(work, shape, tmp_path, 1)
    assert bool(work.model.settled)


def test_what_is_never_fitted_says_so():
    assert not task(CopyFirst(conditions(), **GRID)).trainable
    assert task(pca()).trainable


def test_dice_is_the_mean_over_structures_that_are_there():
    one, other = torch.zeros(2, 2, 2, 2, 2, dtype=torch.uint8)
    one[0, 0], other[0, 0, 0] = 1, 1
    assert float(mean_dice(one, other, 4)) == pytest.approx(2 * 2 / (4 + 2))
    one[1, 0], other[1, 1] = 2, 2
    assert float(mean_dice(one, other, 4)) == pytest.approx(1 / 3)
    assert mean_dice(torch.zeros_like(one), torch.zeros_like(one), 4).isnan()
