"""What holds for every augmentation of the group `augmentation`, as its files compose it."""

from __future__ import annotations

import pytest
import torch
from letter_phantom import NAMES, augmentation, chance, letters

from medreg.errors import ConfigError


@pytest.mark.parametrize("shape", [(32, 24), (16, 20, 6)])
@pytest.mark.parametrize("name", NAMES)
def test_images_change_stay_in_range_and_targets_stay_complete(name, shape):
    image, target = letters(4, shape)
    new, moved = augmentation(name)(image, target, generator=chance(1))
    assert new.shape == (8, *image.shape[1:])
    assert moved.shape == (8, *target.shape[1:])
    assert float((new[:4] - image).abs().mean()) > 1e-3
    assert torch.equal(new[4:], image)
    assert torch.equal(moved[4:], target)
    assert 0 <= float(new.min()) <= float(new.max()) <= 1 + 1e-6
    assert float(moved.min()) >= 0
    torch.testing.assert_close(moved.sum(1), torch.ones_like(moved[:, 0]))
    hard = bool(((moved == 0) | (moved == 1)).all())
    assert hard == (name != "mixup")


@pytest.mark.parametrize("name", NAMES)
def test_the_same_generator_gives_the_same_bits_and_another_one_others(name):
    image, target = letters(3, (24, 20))
    change = augmentation(name)
    first, second = (change(image, target, generator=chance(7)) for _ in range(2))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert not torch.equal(first[0], change(image, target, generator=chance(8))[0])


@pytest.mark.parametrize("name", NAMES)
def test_no_chance_but_the_generators(name):
    image, target = letters(3, (24, 20))
    before = torch.get_rng_state()
    augmentation(name)(image, target, generator=chance())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", NAMES)
def test_precision_is_kept_and_codes_become_shares(name):
    image, target = letters(3, (24, 20))
    change = augmentation(name, "batch.copies=all")
    exact = change(image, target, generator=chance())
    half, whole = change(image.half(), target.long(), generator=chance())
    assert (half.dtype, whole.dtype) == (torch.float16, torch.float32)
    torch.testing.assert_close(half.float().mean(), exact[0].mean(), atol=0.01, rtol=0)
    assert float((whole - exact[1]).abs().max()) < 1e-6
    double, soft = change(image.double(), target.double(), generator=chance())
    assert (double.dtype, soft.dtype) == (torch.float64, torch.float64)
    torch.testing.assert_close(double.mean(), exact[0].double().mean(), atol=1e-3, rtol=0)


def test_parts_and_operations_can_be_left_out():
    image, target = letters(2, (16, 16))
    change = augmentation("mixup", "batch.parts.standard=null", "batch.parts.mixup=null", "batch.copies=all")
    assert torch.equal(change(image, target, generator=chance())[0], image)
    fewer = augmentation("randaugment", "batch.parts.randaugment.operations.solarise=null")
    fewer(image, target, generator=chance())
    assert fewer.parts["randaugment"].operations["solarise"] is None


def test_no_augmentation_leaves_the_batch_alone():
    image, target = letters(3, (24, 20))
    new, same = augmentation("none")(image, target, generator=chance())
    assert new is image
    assert same is target


def test_numbers_are_options():
    part = augmentation("mixup", "batch.parts.mixup.alpha=0.7", "batch.copies=all").parts["mixup"]
    assert part.alpha == 0.7
    with pytest.raises(ConfigError, match=r"mixup\.alpha is -1; give a finite number above 0"):
        augmentation("mixup", "batch.parts.mixup.alpha=-1")
    with pytest.raises(ConfigError, match="which is reversed"):
        augmentation("gin", "batch.parts.standard.placement.scale=[1.1,0.8]")
