"""MIND descriptors against a voxel-by-voxel evaluation of the definition."""

from __future__ import annotations

import math

import pytest
import torch

from medreg.errors import ConfigError
from medreg.losses.similarity.mind import MINDSSC, context_pairs, mind_ssc


@pytest.mark.parametrize(("ndim", "count"), [(2, 4), (3, 12)])
def test_number_of_context_pairs(ndim, count):
    pairs = context_pairs(ndim)
    assert len(pairs) == count
    assert all(math.dist(a, b) == pytest.approx(math.sqrt(2)) for a, b in pairs)


def test_descriptor_of_an_inner_voxel():
    torch.manual_seed(0)
    image = torch.rand(12, 13, dtype=torch.float64)
    descriptor = mind_ssc(image[None, None], radius=1, dilation=2, eps=0.0)[0, :, 6, 5]
    distances = []
    for (ai, aj), (bi, bj) in context_pairs(2):
        squares = [
            (image[6 + p + 2 * ai, 5 + q + 2 * aj] - image[6 + p + 2 * bi, 5 + q + 2 * bj]) ** 2
            for p in (-1, 0, 1)
            for q in (-1, 0, 1)
        ]
        distances.append(sum(squares) / 9)
    d = torch.stack(distances)
    d = d - d.min()
    torch.testing.assert_close(descriptor, torch.exp(-d / d.mean()))


def test_ignores_brightness_contrast_and_inversion():
    torch.manual_seed(0)
    image = torch.rand(1, 1, 10, 9, 8, dtype=torch.float64)
    loss = MINDSSC(radius=1, dilation=1, weight=1.0)
    assert loss(image, 0.7 - 2 * image).item() < 1e-8
    assert loss(image, image.roll(2, 3)).item() > 0.01


def test_flat_image_has_a_finite_descriptor():
    assert mind_ssc(torch.full((1, 1, 8, 8), 0.5), radius=1, dilation=1).equal(torch.ones(1, 4, 8, 8))


def test_refuses_impossible_settings():
    with pytest.raises(ConfigError, match="dilation"):
        MINDSSC(radius=1, dilation=0, weight=1.0)
