"""Baselines of ageing on hearts whose change with age is known."""

from __future__ import annotations

import pytest
import torch
from beating_hearts import people
from small_ageing import SIZE, codes, two_phases

from medreg.errors import CheckpointError, CompositionError
from medreg.losses.generative.cheart import CHeartLoss
from medreg.models.hearts.ageheart import at_group
from medreg.models.hearts.group_shift import GroupShift, NoChange
from medreg.models.hearts.heart_cvae import HeartCVAE, JudgedHeartCVAE
from medreg.models.hearts.pca_regression import PCARegression

SHAPE = {"frames": 2, "classes": 4, "size": SIZE}
NETWORK = {**SHAPE, "n_down": 3, "filters": 4, "latent": 5, "norm": "batch"}


def fitted(model, count=60):
    told = people(count, seed=1)
    model.begin()
    model.observe(two_phases(told, SIZE, 1), told)
    model.settle()
    return model


def volumes(shape):
    return (shape[:, 0] == 1).flatten(1).sum(1).float()


def young(count=12):
    told = {**people(count, seed=2)}
    told["age_years"] = torch.full((count,), 48.5)
    return two_phases(told, SIZE, 2), told


@pytest.mark.parametrize(
    "make",
    [
        lambda: GroupShift(codes(), **SHAPE, spacing_mm=(10.0, 10.0, 8.0)),
        lambda: PCARegression(codes(), **SHAPE, components=8, noise=None, conditional=True, half=False),
    ],
    ids=["group_shift", "pca_reg"],
)
def test_hearts_shrink_with_age_about_as_people_differ(make):
    model = fitted(make())
    shape, told = young()
    later = at_group(told, torch.full((len(shape),), 6))
    change = float((volumes(model.age(shape, told, later)) - volumes(model.reconstruct(shape, told))).mean())
    older = two_phases({**told, "age_years": later["age_years"]}, SIZE, 2)
    real = float((volumes(older) - volumes(shape)).mean())
    assert real < 0
    assert 0.4 < change / real < 1.6


def test_the_same_group_is_no_change():
    model = fitted(GroupShift(codes(), **SHAPE, spacing_mm=(10.0, 10.0, 8.0)))
    shape, told = young(3)
    assert torch.equal(model.age(shape, told, told), shape)


def test_pca_gives_training_hearts_back():
    model = fitted(PCARegression(codes(), **SHAPE, components=40, noise=None, conditional=True, half=False))
    told = people(60, seed=1)
    shape = two_phases(told, SIZE, 1)
    assert float((model.reconstruct(shape, told) == shape).float().mean()) > 0.99


def test_no_change_changes_nothing_and_is_not_trained():
    model = NoChange(codes(), **SHAPE)
    shape, told = young(2)
    assert torch.equal(model.age(shape, told, at_group(told, torch.tensor([6, 6]))), shape)
    assert not model.trainable
    with pytest.raises(CompositionError, match="cannot make new ones"):
        model.generate(told, generator=torch.Generator())


def test_a_group_without_hearts_takes_the_nearest():
    model = GroupShift(codes(), **SHAPE, spacing_mm=(10.0, 10.0, 8.0))
    told = {"age_years": torch.tensor([48.0, 48.0, 79.0, 79.0]), "sex": torch.tensor([0.0, 1.0, 0.0, 1.0])}
    model.begin()
    model.observe(two_phases(told, SIZE, 1), told)
    model.settle()
    assert torch.equal(model.sums[0, 1], model.sums[0, 0])
    assert torch.equal(model.sums[1, 5], model.sums[1, 6])


def test_what_cannot_be_is_refused():
    model = GroupShift(codes(), **SHAPE, spacing_mm=(10.0, 10.0, 8.0))
    shape, told = young(2)
    with pytest.raises(CheckpointError, match="not fitted"):
        model.age(shape, told, told)
    women = {**told, "sex": torch.zeros(2)}
    model.observe(shape, women)
    with pytest.raises(CompositionError, match="no heart of a man"):
        model.settle()
    with pytest.raises(CompositionError, match=r"data\.phases=edes"):
        NoChange(codes(), **{**SHAPE, "frames": 10})


@pytest.mark.parametrize("judged", [False, True])
def test_a_variational_auto_encoder_of_both_phases(judged):
    torch.manual_seed(0)
    model = (
        JudgedHeartCVAE(codes(), discriminator_filters=2, **NETWORK)
        if judged
        else HeartCVAE(codes(), **NETWORK)
    )
    told = people(4)
    shape = two_phases(told, SIZE, 0)
    output = model(shape, told, generator=torch.Generator().manual_seed(0))
    assert output.scores.shape == (4, 2, 4, *SIZE)
    assert output.mean.shape == (4, 5)
    loss = CHeartLoss(
        beta=0.01, frame_weights="none", class_weights=None, kl_reduction="mean", beta_warmup_epochs=0,
        frames_per_step=None, displacement_weight=0.0,
    )  # fmt: skip
    loss(output, shape, epoch=0).loss.backward()
    assert all(
        p.grad is not None for name, p in model.named_parameters() if not name.startswith("discriminator")
    )
    model.eval()
    assert torch.equal(model.reconstruct(shape, told), model.age(shape, told, told))
    assert model.generate(told, generator=torch.Generator().manual_seed(1)).shape == shape.shape
    if judged:
        assert model.judge(output.scores.softmax(2), told).shape == (4, 1)
    with pytest.raises(CompositionError, match="model=cheart"):
        model.complete(shape[:, 0], told)
