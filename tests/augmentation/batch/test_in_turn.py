"""The order of augmentations, and copies of the images as they were."""

from __future__ import annotations

import pytest
import torch
from letter_phantom import augmentation, chance, letters

from medreg.augmentation.batch.base import BatchAugmentation
from medreg.augmentation.batch.in_turn import InTurn
from medreg.augmentation.batch.unchanged import Unchanged
from medreg.errors import ConfigError


class Times(BatchAugmentation):
    """Multiplies."""

    def change(self, image, target, *, generator):
        return image * 3, target


class Plus(BatchAugmentation):
    """Adds, and crops a voxel of each border."""

    def change(self, image, target, *, generator):
        return (image + 1)[..., 1:-1, 1:-1], target[..., 1:-1, 1:-1]


def test_parts_follow_in_the_order_of_the_mapping():
    image, target = letters(2, (8, 8))
    parts = {"times": Times(), "plus": Plus()}
    new, _ = InTurn(parts, copies="all")(image, target, generator=chance())
    torch.testing.assert_close(new, (3 * image + 1)[..., 1:-1, 1:-1])


def test_half_are_the_images_as_they_were():
    image, target = letters(2, (8, 8))
    new, both = InTurn({"plus": Plus()}, copies="half")(image, target, generator=chance())
    assert new.shape == (4, 1, 6, 6)
    assert torch.equal(new[2:], image[..., 1:-1, 1:-1])
    assert torch.equal(both[2:], target[..., 1:-1, 1:-1])
    torch.testing.assert_close(new[:2], new[2:] + 1)


def test_nothing_is_the_identity():
    image, target = letters(2, (8, 8))
    for nothing in (InTurn({}, copies="all"), Unchanged()):
        new, same = nothing(image, target, generator=chance())
        assert torch.equal(new, image)
        assert torch.equal(same, target)


def test_copies_that_are_no_choice_are_named():
    with pytest.raises(ConfigError, match=r"augmentation\.batch\.copies is 'both'; choose all or half"):
        InTurn({}, copies="both")
    with pytest.raises(ConfigError, match=r"copies is 'both'"):
        augmentation("standard", "batch.copies=both")
