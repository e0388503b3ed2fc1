"""Training of a distance: it learns, it judges itself, and it is resumed where it stopped."""

from __future__ import annotations

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from medreg.augmentation.misalignment import moved
from medreg.config.compose import compose
from medreg.config.instantiate import build
from medreg.geometry.affine_distance import affine_distance, inverse_matrix
from medreg.geometry.affine_pose import pose_matrix
from medreg.tasks.distance_probe import Probe

SMALL = (
    "model=mad",
    "data=brain_phantom",
    "model.size=16",
    "model.channels=[8,16]",
    "model.hidden=16",
    "task.probe.repeats=8",
    "task.probe.rotation_deg=[-60,-20,0,20,60]",
    "task.probe.translation=[-0.5,-0.2,0.0,0.2,0.5]",
    "logger=none",
)


def task_of(*more):
    torch.manual_seed(0)
    return build(compose([*SMALL, *more]).task)


def shapes(count, size=16):
    """Bright blobs with a dark side, all of one kind."""
    axis = torch.linspace(-1, 1, size)
    x, y = torch.meshgrid(axis, axis, indexing="ij")
    head = ((x / 0.5) ** 2 + (y / 0.7) ** 2 < 1).float()
    spot = ((x - 0.15) ** 2 + (y - 0.3) ** 2 < 0.05).float()
    image = 0.5 * head + 0.5 * head * spot
    shift = torch.linspace(-0.1, 0.1, count)
    matrix = torch.eye(2, 3).repeat(count, 1, 1)
    matrix[:, 0, 2] = shift
    return moved(image.expand(count, 1, size, size), matrix)


def case(images):
    names = ["a__a"] * len(images)
    return {
        "fixed_image": images,
        "moving_image": images,
        "spacing_mm": torch.full((len(images), 2), 3.0),
        "case": names,
        "fixed_id": ["a"] * len(images),
        "moving_id": ["a"] * len(images),
    }


def fitted(task, *, epochs):
    train = [{"image": images} for images in shapes(160).split(16)]
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        check_val_every_n_epoch=epochs,
        log_every_n_steps=1,
    )
    loaders = [DataLoader(batches, batch_size=None, num_workers=0) for batches in (train, [case(shapes(4))])]
    trainer.fit(task, *loaders)
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


@pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers")
def test_it_learns_and_says_how_well():
    """150 steps on one shape: better than the best constant, and far from it where misalignment is large."""
    task = task_of("optimiser.lr=3e-3")
    before = fitted(task_of("optimiser.lr=1e-12"), epochs=1)
    after = fitted(task, epochs=15)
    assert after["val/loss"] < 0.8 * before["val/loss"]
    assert after["val/distance_pearson"] > 0.5
    assert after["val/distance_l1_mm"] == pytest.approx(after["val/loss"] * 7.5 * 3, rel=1e-5)
    assert {"val/rotation_spearman", "val/translation_spearman", "train/loss"} <= set(after)


def probe(**changes):
    options = compose([*SMALL]).task.probe
    made = build(options)
    return Probe(**{**{name: getattr(made, name) for name in made.__dataclass_fields__}, **changes})


def test_the_probe_knows_the_truth():
    """A measure that reads the displacement off a coordinate image is predicted exactly, in order and in batches."""
    ramp = shapes(3)
    seen = []

    def measure(fixed, moving):
        seen.append(len(fixed))
        return fixed.flatten(1).mean(1) - moving.flatten(1).mean(1)

    points = probe(batch=7, seed=3).points(ramp, ramp, measure)
    assert seen == [7, 7, 7, 3]
    assert points.truth.shape == points.predicted.shape == (24,)
    generator = torch.Generator().manual_seed(3 * 1_000_003)

    matrix = pose_matrix(probe().poses(24, ndim=2, generator=generator), torch.ones(2))
    expected = (
        affine_distance(matrix, torch.ones(2)) + affine_distance(inverse_matrix(matrix), torch.ones(2))
    ) / 2
    torch.testing.assert_close(points.truth, expected)
    again = measure(ramp.repeat_interleave(8, 0), moved(ramp.repeat_interleave(8, 0), matrix))
    torch.testing.assert_close(points.predicted, again, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("ndim", "rotations", "shifts"), [(2, 1, 2), (3, 3, 3)])
def test_curves_are_means_over_axes(ndim, rotations, shifts):
    image = torch.rand(2, 1, *[6] * ndim, generator=torch.Generator().manual_seed(0))
    count = []

    def measure(fixed, moving):
        count.append(len(fixed))
        return (fixed - moving).square().flatten(1).mean(1)

    rotation, translation = probe(batch=1000).curves(image, image, measure)
    assert count == [2 * 5 * rotations, 2 * 5 * shifts]
    assert (rotation.motion, rotation.unit, translation.unit) == ("rotation", "deg", "half-extents")
    for curve in (rotation, translation):
        assert float(curve.measure[2]) == pytest.approx(0, abs=1e-9)
        assert float(curve.measure[[0, 1, 3, 4]].min()) > 0
