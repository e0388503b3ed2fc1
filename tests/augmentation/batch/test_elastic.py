"""Elastic displacements: size, smoothness, frequency."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from letter_phantom import chance
from scipy.ndimage import gaussian_filter

from medreg.augmentation.batch.elastic import Elastic, smoothing
from medreg.errors import ConfigError

RELEASE = Elastic(probability=1.0, alpha=(1.5, 2.0), sigma=(0.075, 0.15), side=None, across=False)


def test_smoothing_is_the_gaussian_of_scipy_up_to_its_gain():
    noise = torch.rand(2, 50, generator=chance(), dtype=torch.float64) - 0.5
    sigma = torch.tensor([3.0, 6.0], dtype=torch.float64)
    for row, width, matrix in zip(noise, sigma, smoothing(sigma, 50), strict=True):
        expected = torch.as_tensor(gaussian_filter(row.numpy(), float(width), mode="constant", truncate=12))
        gain = math.sqrt(2 * math.sqrt(math.pi) * float(width))
        torch.testing.assert_close(matrix @ row, gain * expected, atol=1e-9, rtol=1e-6)


@pytest.mark.parametrize("shape", [(64, 64), (80, 48), (16, 16, 16)])
def test_the_deviation_in_the_middle_is_that_of_the_formula(shape):
    elastic = replace(RELEASE, alpha=(1.75, 1.75), sigma=(0.1, 0.1), across=True)
    field = elastic(torch.zeros(300, 1), shape, generator=chance())
    middle = field[(slice(None), slice(None), *(size // 2 for size in shape))]
    expected = 1.75 / (math.sqrt(12 * math.pi) * 0.1)
    assert float(middle.std()) == pytest.approx(expected, rel=0.07)
    assert abs(float(middle.mean())) < 0.35


def jacobian(field):
    """(N, X − 1, Y − 1) determinants by forward differences."""
    first, second = field.diff(dim=2)[..., :-1], field.diff(dim=3)[:, :, :-1]
    return (1 + first[:, 0]) * (1 + second[:, 1]) - first[:, 1] * second[:, 0]


def test_small_images_fold_unless_displacements_shrink_with_them():
    like, shape = torch.zeros(100, 1), (64, 64)
    shrunk = replace(RELEASE, side=224)(like, shape, generator=chance())
    literal = RELEASE(like, shape, generator=chance())
    torch.testing.assert_close(shrunk * 224 / 64, literal)
    assert float(jacobian(shrunk).min()) > 0.1
    assert 0.15 < float((jacobian(literal) <= 0).flatten(1).any(1).float().mean()) < 0.5


def test_a_picture_at_twice_the_size_is_deformed_alike():
    like = torch.zeros(200, 1)
    small, large = (replace(RELEASE, side=224)(like, (s, s), generator=chance()) for s in (40, 80))
    middle = [float(field[:, :, field.shape[2] // 2, field.shape[3] // 2].std()) for field in (small, large)]
    assert middle[1] / middle[0] == pytest.approx(2, rel=0.12)


def test_half_of_the_samples_move_at_a_probability_of_one_half():
    field = replace(RELEASE, probability=0.5)(torch.zeros(1000, 1), (8, 8), generator=chance())
    moved = field.flatten(1).abs().amax(1) > 0
    assert 450 < int(moved.sum()) < 550


def test_nothing_moves_across_slices_unless_told():
    shape = (16, 12, 5)
    field = RELEASE(torch.zeros(3, 1), shape, generator=chance())
    assert field.shape == (3, 3, *shape)
    assert float(field[:, 2].abs().max()) == 0
    assert float(field[:, :2].abs().max()) > 0.1
    assert (
        float(replace(RELEASE, across=True)(torch.zeros(3, 1), shape, generator=chance())[:, 2].std()) > 0.1
    )


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("probability", 2),
        ("alpha", (2, 1.5)),
        ("alpha", (0.0, 1.0)),
        ("sigma", (-0.1, 0.1)),
        ("sigma", 0.1),
        ("side", 0),
    ],
)
def test_options_that_make_no_sense_are_named(option, value):
    with pytest.raises(ConfigError, match=rf"elastic\.{option} is .*give"):
        replace(RELEASE, **{option: value})
