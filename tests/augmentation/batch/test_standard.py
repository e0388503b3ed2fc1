"""Standard augmentation in closed form: turns, flips, scale, shift, crop; one warp for all."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from letter_phantom import chance, letters

from medreg.augmentation.batch.contrast import RandomContrast
from medreg.augmentation.batch.elastic import Elastic
from medreg.augmentation.batch.placement import RandomPlacement
from medreg.augmentation.batch.standard import Standard
from medreg.errors import CompositionError, ConfigError
from medreg.geometry.compose import compose
from medreg.geometry.grid import matrix_to_displacement

STILL = RandomPlacement(rotation=0, scale=(1, 1), shift=0, turns=(), flip=0, across=False)
FULL = Standard(
    placement=RandomPlacement(15, (0.8, 1.1), 0.1, tuple(range(0, 360, 45)), 0.2, False),
    elastic=Elastic(probability=0.5, alpha=(1.5, 2.0), sigma=(0.075, 0.15), side=None, across=False),
    contrast=RandomContrast(probability=0.5, contrast=(0.8, 1.2), brightness=(-0.1, 0.1)),
    crop=None,
    rescale=True,
)


def only(**changes):
    """One kind of placement and nothing else."""
    return replace(FULL, placement=replace(STILL, **changes), elastic=None, contrast=None, rescale=False)


def assert_same(found, expected):
    torch.testing.assert_close(found[0], expected[0], atol=1e-4, rtol=0)
    assert torch.equal(found[1], expected[1])


@pytest.mark.parametrize(("degrees", "quarters"), [(90, 3), (180, 2), (270, 1), (360, 0)])
def test_a_quarter_turn_moves_images_and_labels_alike(degrees, quarters):
    image, target = letters(2, (32, 32))
    found = only(turns=(degrees,))(image, target, generator=chance())
    # A pull by +90° fetches axis 0 from axis 1, so that what is seen turns the other way.
    assert_same(found, (image.rot90(quarters, (2, 3)), target.rot90(quarters, (2, 3))))


def test_a_quarter_turn_keeps_lengths_where_sides_differ():
    image, target = letters(1, (48, 32))
    _, found = only(turns=(90,))(image, target, generator=chance())
    turned = target.rot90(3, (2, 3))[:, :, :, 8:40]  # the middle of (32, 48)
    assert torch.equal(found[:, :, 8:40], turned)


@pytest.mark.parametrize("shape", [(20, 26), (10, 12, 4)])
def test_a_flip_of_both_axes(shape):
    image, target = letters(2, shape)
    found = only(flip=1.0)(image, target, generator=chance())
    assert_same(found, (image.flip((2, 3)), target.flip((2, 3))))


def test_a_scale_below_one_enlarges():
    image, target = letters(1, (64, 64))
    _, found = only(scale=(0.8, 0.8))(image, target, generator=chance())
    areas = found[:, 1:].sum((2, 3)) / target[:, 1:].sum((2, 3))
    torch.testing.assert_close(areas, torch.full((1, 2), 1 / 0.64), atol=0.12, rtol=0)


def test_the_three_maps_are_composed_into_one_displacement():
    image, _ = letters(3, (40, 36))
    standard = replace(FULL, elastic=replace(FULL.elastic, probability=1.0))
    found = standard.displacement(image, generator=chance(3))
    generator, like, shape = chance(3), image[:, 0], (40, 36)
    placed = matrix_to_displacement(standard.placement(like, shape, generator=generator), shape)
    after_one_another = compose(placed, standard.elastic(like, shape, generator=generator))
    # Inside, where the field of the affine map needs no values from beyond the border
    torch.testing.assert_close(
        found[:, :, 10:30, 10:26], after_one_another[:, :, 10:30, 10:26], atol=1e-3, rtol=0
    )


def test_a_crop_takes_the_middle_of_larger_images():
    image, target = letters(2, (40, 44))
    found = replace(only(), crop=(24, 28))(image, target, generator=chance())
    assert_same(found, (image[:, :, 8:32, 8:36], target[:, :, 8:32, 8:36]))
    # and what lies around it fills the corners of a rotation
    turned, _ = replace(only(turns=(45,)), crop=(24, 24))(image + 0.5, target, generator=chance())
    assert float(turned.min()) >= 0.5 - 1e-4
    with pytest.raises(ConfigError, match=r"standard\.crop is \[8, 8, 8\]"):
        replace(FULL, crop=(8, 8, 8))(image, target, generator=chance())
    with pytest.raises(ConfigError, match=r"standard\.crop"):
        replace(FULL, crop=(0, 8))


def test_in_a_stack_every_slice_keeps_its_own_content():
    image, target = letters(4, (24, 20, 5))
    target[:, 1:, ..., [0, 1, 3, 4]], target[:, 0, ..., [0, 1, 3, 4]] = 0, 1
    _, found = FULL(image, target, generator=chance())
    counts = found[:, 1:].sum((0, 1, 2, 3))
    assert counts[2] > 0
    assert counts.sum() == counts[2]


@pytest.mark.parametrize("shape", [(32, 24), (16, 20, 12)])
@pytest.mark.parametrize("count", [1, 3])
def test_targets_stay_complete_and_images_in_range(shape, count):
    image, target = letters(count, shape)
    across = replace(
        FULL, placement=replace(FULL.placement, across=True), elastic=replace(FULL.elastic, across=True)
    )
    for standard in (FULL, across):
        new, moved = standard(image, target, generator=chance(5))
        assert new.shape == image.shape
        assert set(moved.unique().tolist()) == {0.0, 1.0}
        assert bool((moved.sum(1) == 1).all())
        assert float(new.min()) == 0
        assert float(new.max()) == 1
        assert float((new - image).abs().mean()) > 1e-3


def test_without_foreground_everything_stays_background():
    image, _ = letters(2, (16, 16))
    target = torch.zeros(2, 3, 16, 16)
    target[:, 0] = 1
    _, found = FULL(image, target, generator=chance())
    assert torch.equal(found, target)


def test_black_images_stay_black_and_finite():
    target = letters(2, (16, 16))[1]
    found, _ = FULL(torch.zeros(2, 1, 16, 16), target, generator=chance())
    assert torch.equal(found, torch.zeros(2, 1, 16, 16))


def test_samples_are_changed_each_in_its_own_way():
    image, target = letters(1, (32, 32))
    found, _ = FULL(image.expand(6, -1, -1, -1), target.expand(6, -1, -1, -1), generator=chance())
    distances = torch.cdist(found.flatten(1), found.flatten(1)) + torch.eye(6)
    assert float(distances.min()) > 0.5


def test_what_does_not_fit_is_refused_in_a_sentence():
    image, target = letters(2, (16, 16))
    for wrong in (target[:1], target[..., :8], target[:, 0]):
        with pytest.raises(CompositionError, match="do not fit"):
            FULL(image, wrong, generator=chance())
