"""Chains: order, the way back, the mask."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from heart_slices import heart_slices

from medreg.augmentation.affine import AffineMap
from medreg.augmentation.bias import BiasField
from medreg.augmentation.chain import Chain, seen
from medreg.augmentation.morph import Morph
from medreg.augmentation.noise import Noise
from medreg.errors import ConfigError

NOISE, BIAS, MORPH, AFFINE = Noise.paper(), BiasField.paper(), Morph.paper(), AffineMap.paper()


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def phantom():
    images, labels = heart_slices(2)
    one_hot = torch.nn.functional.one_hot(labels, 4).movedim(-1, 1).float()
    return images[:4], one_hot[:4]


def dice(first, second, mask, code):
    a, b = (first == code) & mask, (second == code) & mask
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def test_members_act_in_the_order_of_the_list():
    image, _ = phantom()
    chain = Chain((BIAS, AFFINE, NOISE))
    phi = chain.draw(image, generator=generator())
    by_hand = NOISE.apply(AFFINE.apply(BIAS.apply(image, phi[0]), phi[1]), phi[2])
    assert torch.equal(chain.apply(image, phi), by_hand)
    other = Chain((NOISE, AFFINE, BIAS)).apply(image, phi[::-1])
    assert not torch.allclose(other, by_hand, atol=1e-3)


def test_values_travel_with_the_image_and_return_by_the_inverses_in_reverse_order():
    image, one_hot = phantom()
    chain = Chain((BIAS, MORPH, AFFINE, NOISE))
    phi = chain.draw(image, generator=generator())
    moved, values = chain.carry(image, one_hot, phi)
    assert torch.equal(moved, chain.apply(image, phi))
    assert torch.allclose(values, AFFINE.carry(MORPH.carry(one_hot, phi[1]), phi[2]), atol=1e-6)
    back = MORPH.invert(AFFINE.invert(values, phi[2]), phi[1])
    assert torch.equal(chain.invert(values, phi), back)


@pytest.mark.parametrize("members", [(MORPH, AFFINE), (AFFINE, MORPH)])
def test_labels_come_back(members):
    """Dice is not 1: at 4 mm a border voxel is several per cent of a wall. The wrong order of inverses is far worse."""
    image, one_hot = phantom()
    chain = Chain(members)
    phi = chain.draw(image, generator=generator(3))
    phi = tuple(torch.ones_like(p) if m is AFFINE else p for m, p in zip(members, phi, strict=True))
    _, there = chain.carry(image, one_hot, phi)
    mask = chain.mask(image, phi).bool()[:, 0]
    back = chain.invert(there, phi).argmax(1)
    wrong = Chain(members[::-1]).invert(there, phi[::-1]).argmax(1)
    truth = one_hot.argmax(1)
    for code in (1, 2, 3):
        assert dice(back, truth, mask, code) > 0.93
    assert min(dice(wrong, truth, mask, code) for code in (1, 2, 3)) < 0.9


def test_the_mask_is_zero_where_content_left_the_field_of_view():
    image = torch.rand(1, 1, 40, 40, generator=generator())
    chain = Chain((AFFINE,))
    shift = torch.zeros(1, 5)
    shift[:, 3] = 1.0  # by 0.1 half-extents, 1.95 voxels, along the first axis
    mask = chain.mask(image, (shift,))
    assert mask.shape == (1, 1, 40, 40)
    assert set(mask.unique().tolist()) <= {0.0, 1.0}
    rows = mask[0, 0].amin(1)
    assert int((rows == 0).sum()) == 1  # two rows enter, one of them by 0.05
    assert int((chain.mask(image, (shift,), above=0.999)[0, 0].amin(1) == 0).sum()) == 3
    eroded = chain.mask(image, (shift,), above=0.999, margin=3)
    assert int((eroded[0, 0].amin(1) == 0).sum()) == 3 + 2 * 3


def test_the_mask_has_no_gradient_and_is_one_where_nothing_moves():
    image, _ = phantom()
    for chain in (Chain((NOISE, BIAS)), Chain((MORPH, AFFINE))):
        phi = tuple(p.requires_grad_() for p in chain.draw(image, generator=generator()))
        assert not chain.mask(image, phi).requires_grad
    still = Chain((NOISE, MORPH))
    identity = tuple(member.identity(image) for member in still.members)
    assert torch.equal(still.mask(image, identity), torch.ones_like(image))


def test_padding_of_images_does_not_fill_the_mask():
    image, one_hot = phantom()
    phi = (torch.full((4, 5), 0.8),)
    plain, padded = Chain((AFFINE,)), Chain((replace(AFFINE, padding="lowest"),))
    assert torch.equal(padded.mask(image, phi), plain.mask(image, phi))
    assert torch.equal(padded.carry(image, one_hot, phi)[1], plain.carry(image, one_hot, phi)[1])
    released = Chain((replace(AFFINE, padding="border", pad_scores=True),))
    assert torch.equal(released.mask(image, phi), torch.ones_like(image))


def test_the_geometric_part():
    chain = Chain((NOISE, MORPH, BIAS, AFFINE))
    members, phi = chain.geometric((torch.zeros(1), torch.ones(1), torch.zeros(1), torch.full((1,), 2.0)))
    assert members == (MORPH, AFFINE)
    assert [float(p) for p in phi] == [1.0, 2.0]
    assert chain.moves
    assert not Chain((NOISE, BIAS)).moves


def test_a_chain_needs_members():
    with pytest.raises(ConfigError, match="no members"):
        Chain(())


def test_erosion_grows_the_outside():
    returned = torch.ones(1, 1, 9, 9)
    returned[0, 0, 4, 4] = 0
    assert int((seen(returned, margin=1) == 0).sum()) == 9
    assert int((seen(returned) == 0).sum()) == 1
