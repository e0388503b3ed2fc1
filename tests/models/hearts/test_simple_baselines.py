"""The heart that does not beat and the mean heart."""

from __future__ import annotations

import pytest
import torch
from small_hearts import CLASSES, FRAMES, SIZE, conditions, hearts, people

from medreg.errors import CheckpointError, CompositionError
from medreg.models.hearts.copy_first import CopyFirst
from medreg.models.hearts.mean_shape import MeanShape

GRID = {"frames": FRAMES, "classes": CLASSES, "size": SIZE}


def test_copying_repeats_the_first_frame_and_makes_nothing():
    model, shape = CopyFirst(conditions(), **GRID), hearts(2)
    found = model.complete(shape[:, 0], people(2))
    assert found.shape == shape.shape
    assert all(torch.equal(found[:, number], shape[:, 0]) for number in range(FRAMES))
    with pytest.raises(CompositionError, match="cannot make a heart"):
        model.generate(people(2), generator=torch.Generator())


def test_the_mean_heart_has_what_most_hearts_have_in_every_frame():
    model, shape = MeanShape(conditions(), **GRID), hearts(11)
    with pytest.raises(CheckpointError, match="not fitted"):
        model.complete(shape[:, 0], people(11))
    for part in (slice(4), slice(4, 11)):
        model.observe(shape[part], people(11))
    model.settle()
    votes = torch.stack([(shape == place).sum(0) for place in range(CLASSES)])
    assert torch.equal(model.shape.long(), votes.argmax(0))
    assert not torch.equal(model.shape[0], model.shape[-1])
    assert torch.equal(model.complete(shape[:2, 0], people(2)), model.shape.expand(2, -1, -1, -1, -1))
    assert model.generate(people(3), generator=torch.Generator()).shape == (3, FRAMES, *SIZE)


def test_a_second_fit_does_not_count_the_hearts_of_the_first():
    model = MeanShape(conditions(), **GRID)
    model.observe(torch.full((3, FRAMES, *SIZE), 2, dtype=torch.uint8), {})
    model.begin()
    model.observe(torch.full((1, FRAMES, *SIZE), 1, dtype=torch.uint8), {})
    model.settle()
    assert model.shape.unique().tolist() == [1]
    copy = MeanShape(conditions(), **GRID)
    copy.load_state_dict(model.state_dict())
    assert torch.equal(copy.shape, model.shape)
