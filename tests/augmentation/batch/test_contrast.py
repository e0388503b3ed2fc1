"""Contrast and brightness, and the range that images are brought back to."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from letter_phantom import chance

from medreg.augmentation.batch.contrast import RandomContrast
from medreg.augmentation.batch.unit_range import unit_range
from medreg.errors import ConfigError

RELEASE = RandomContrast(probability=1.0, contrast=(0.8, 1.2), brightness=(-0.1, 0.1))


def test_the_change_is_linear_and_held_within_the_own_range_of_an_image():
    image = torch.rand(500, 1, 6, 6, generator=chance())
    image[:, :, 0, 0], image[:, :, 0, 1] = 0.0, 1.0
    image[:, :, 1, 0], image[:, :, 1, 1] = 0.4, 0.6
    new = RELEASE(image, generator=chance(1))
    slope = (new[:, 0, 1, 1] - new[:, 0, 1, 0]) / 0.2
    offset = new[:, 0, 1, 0] - 0.4 * slope
    assert 0.8 <= float(slope.min()) < 0.81
    assert 1.19 < float(slope.max()) <= 1.2001
    assert -0.1001 < float(offset.min()) < -0.098
    assert 0.098 < float(offset.max()) < 0.1001
    shape = (-1, 1, 1, 1)
    expected = (slope.reshape(shape) * image + offset.reshape(shape)).clamp(0, 1)
    torch.testing.assert_close(new, expected, atol=1e-5, rtol=0)


def test_half_of_the_samples_change_at_a_probability_of_one_half():
    image = torch.rand(1000, 1, 4, 4, generator=chance())
    changed = (replace(RELEASE, probability=0.5)(image, generator=chance(1)) != image).flatten(1).any(1)
    assert 440 < int(changed.sum()) < 560


def test_an_image_without_contrast_stays_finite():
    image = torch.full((2, 1, 4, 4), 0.3)
    assert torch.equal(RELEASE(image, generator=chance()), image)
    assert torch.equal(unit_range(image), torch.zeros_like(image))


def test_every_channel_is_brought_to_its_own_range():
    image = torch.rand(3, 2, 5, 5, generator=chance()) * torch.tensor([4.0, 0.1]).reshape(1, 2, 1, 1) - 1
    new = unit_range(image).flatten(2)
    torch.testing.assert_close(new.amin(2), torch.zeros(3, 2))
    torch.testing.assert_close(new.amax(2), torch.ones(3, 2))


@pytest.mark.parametrize(
    ("option", "value"), [("probability", 1.5), ("contrast", (1.2, 0.8)), ("brightness", (0.1, -0.1))]
)
def test_options_that_make_no_sense_are_named(option, value):
    with pytest.raises(ConfigError, match=rf"contrast\.{option} is .*give"):
        replace(RELEASE, **{option: value})
