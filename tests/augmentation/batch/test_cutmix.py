"""CutMix: boxes, their area, what lies in them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from letter_phantom import chance, letters

from medreg.augmentation.batch.cutmix import CutMix
from medreg.augmentation.batch.mixup import beta
from medreg.errors import ConfigError

ALWAYS = CutMix(alpha=1.0, probability=1.0)


@pytest.mark.parametrize("shape", [(40, 30), (12, 14, 10)])
def test_voxels_come_from_one_sample_or_another_with_their_target(shape):
    count = 6
    image = torch.arange(float(count)).reshape(-1, *[1] * (len(shape) + 1)).expand(count, 1, *shape)
    target = torch.zeros(count, count, *shape)
    for sample in range(count):
        target[sample, sample] = 1
    new, mixture = ALWAYS(image, target, generator=chance(1))
    assert torch.equal(mixture.argmax(1, keepdim=True).float(), new)
    assert bool((mixture.sum(1) == 1).all())
    assert any(len(sample.unique()) == 2 for sample in new)
    assert all(len(sample.unique()) <= 2 for sample in new)


@pytest.mark.parametrize("shape", [(60, 80), (24, 20, 28)])
def test_a_box_that_is_not_cut_off_has_its_share_of_the_area(shape):
    image = torch.zeros(400, 1, *shape)
    inside = ALWAYS.boxes(image, generator=chance(4))
    wanted = 1 - beta(1.0, 400, generator=chance(4), like=image)
    found = inside.flatten(1).float().mean(1)
    border = torch.zeros(shape, dtype=torch.bool)
    least = torch.ones(400)  # sides are whole, even numbers of voxels
    for axis, size in enumerate(shape):
        border.index_fill_(axis, torch.tensor([0, size - 1]), True)
        least = least * (wanted ** (1 / len(shape)) - 2 / size).clamp_min(0)
    whole = ~(inside[:, 0] & border).flatten(1).any(1) & (found > 0)
    assert int(whole.sum()) > 10
    assert bool((found[whole] >= least[whole] - 1e-5).all())
    assert bool((found <= wanted + 1e-5).all())


def test_boxes_are_boxes():
    (box,) = ALWAYS.boxes(torch.zeros(1, 1, 20, 30), generator=chance(3))[:, 0]
    rows, columns = box.any(1), box.any(0)
    assert int(box.sum()) == int(rows.sum()) * int(columns.sum()) > 0
    for line in (rows, columns):
        places = line.nonzero()[:, 0]
        assert int(places[-1] - places[0]) + 1 == len(places)


def test_some_samples_stay_at_a_smaller_probability():
    image = torch.rand(400, 1, 12, 12, generator=chance())
    target = torch.ones(400, 1, 12, 12)
    changed = [
        (replace(ALWAYS, probability=share)(image, target, generator=chance(1))[0] != image).flatten(1).any(1)
        for share in (0.0, 0.5, 1.0)
    ]
    shares = [float(samples.float().mean()) for samples in changed]
    assert shares[0] == 0
    assert 0.8 < shares[2] <= 1
    assert 0.4 < shares[1] / shares[2] < 0.6


def test_a_batch_of_one_meets_itself():
    image, target = letters(1, (9, 9))
    new, mixture = ALWAYS(image, target, generator=chance())
    assert torch.equal(new, image)
    assert torch.equal(mixture, target)


@pytest.mark.parametrize(("option", "value"), [("alpha", 0), ("alpha", -0.5), ("probability", 1.01)])
def test_options_that_make_no_sense_are_named(option, value):
    with pytest.raises(ConfigError, match=rf"cutmix\.{option} is .*give"):
        replace(ALWAYS, **{option: value})
