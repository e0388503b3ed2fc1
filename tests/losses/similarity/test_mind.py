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


@pytest.mark.parametrize("shape", [(2, 1, 9, 8), (1, 2, 6, 5, 7), (1, 1, 3, 3)], ids=str)
@pytest.mark.parametrize("masked", [False, True])
def test_lean_form_equals_the_formula(monkeypatch, shape, masked):
    """A flat part has equal minima and clipped variances; dilation 2 leaves the smallest image."""
    torch.manual_seed(0)
    images = torch.rand(2, *shape, dtype=torch.float64)
    images[..., :2] = 0.5
    warped, fixed = images.requires_grad_().unbind(0)
    mask = torch.rand(shape[0], 1, *shape[2:]) > 0.2 if masked else None
    loss = MINDSSC(radius=1, dilation=2, weight=1.0)

    def value_and_gradients():
        value = loss(warped, fixed, mask=mask)
        return value, *torch.autograd.grad(value.sum(), (warped, fixed))

    found = value_and_gradients()
    monkeypatch.setenv("MEDREG_KERNELS", "off")
    torch.testing.assert_close(found, value_and_gradients(), rtol=1e-9, atol=1e-11)
