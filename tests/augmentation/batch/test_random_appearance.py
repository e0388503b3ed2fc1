"""Random appearances of labelled images."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from letter_phantom import chance, letters

from medreg.augmentation.batch.random_appearance import RandomAppearance
from medreg.augmentation.random_convolution import GIN, Unchanged
from medreg.errors import ConfigError

GIN_ALWAYS = RandomAppearance(GIN(layers=4, channels=2, kernels=(1, 3), slope=0.01), probability=1.0)


@pytest.mark.parametrize("shape", [(20, 16), (10, 12, 6)])
def test_intensities_fill_the_unit_range_and_targets_stay(shape):
    image, target = letters(3, shape)
    new, same = GIN_ALWAYS(image, target, generator=chance())
    torch.testing.assert_close(new.flatten(1).amin(1), torch.zeros(3))
    torch.testing.assert_close(new.flatten(1).amax(1), torch.ones(3))
    assert torch.equal(same, target)
    assert float((new - image).abs().mean()) > 1e-3


def test_channels_and_samples_have_convolutions_of_their_own():
    image, target = letters(1, (16, 16))
    new, _ = GIN_ALWAYS(image.expand(3, 2, 16, 16), target.expand(3, -1, -1, -1), generator=chance())
    assert new.shape == (3, 2, 16, 16)
    rows = new.flatten(0, 1).flatten(1)
    assert float((torch.cdist(rows, rows) + torch.eye(6)).min()) > 0.1


def test_a_convolution_that_changes_nothing_only_rescales():
    image, target = letters(2, (8, 8))
    low, high = image.amin((1, 2, 3), keepdim=True), image.amax((1, 2, 3), keepdim=True)
    new, _ = RandomAppearance(Unchanged(), probability=1.0)(image, target, generator=chance())
    torch.testing.assert_close(new, (image - low) / (high - low))


def test_some_samples_stay_at_a_smaller_probability():
    image, target = letters(200, (8, 8))
    new, _ = replace(GIN_ALWAYS, probability=0.3)(image, target, generator=chance())
    assert 40 < int((new != image).flatten(1).any(1).sum()) < 80
    with pytest.raises(ConfigError, match=r"appearance\.probability is 3; give a probability"):
        replace(GIN_ALWAYS, probability=3)
