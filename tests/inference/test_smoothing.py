"""Gaussian smoothing against scipy and closed forms."""

from __future__ import annotations

import pytest
import torch
from scipy.ndimage import gaussian_filter

from medreg.inference.level import Level, full_images
from medreg.inference.smoothing import gaussian_smooth


@pytest.mark.parametrize(("shape", "sigma"), [((20, 17), 1.0), ((20, 17), (2.0, 0.0)), ((9, 12, 7), 0.5)])
def test_equals_scipy(shape, sigma):
    image = torch.rand(2, 3, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    sigmas = (0, 0, *([sigma] * len(shape) if isinstance(sigma, float) else sigma))
    expected = gaussian_filter(image.numpy(), sigmas, mode="nearest", truncate=3)
    torch.testing.assert_close(gaussian_smooth(image, sigma).numpy(), expected, rtol=0, atol=1e-12)


def test_constants_stay_and_zero_width_is_free():
    image = torch.full((1, 1, 8, 9), 3.0)
    torch.testing.assert_close(gaussian_smooth(image, 2.5), image)
    assert torch.equal(gaussian_smooth(image, 0.0), image)


def test_level_shapes_keep_thin_axes():
    level = Level(shrink=4, sigma=0.0, iterations=1, learning_rate=0.1)
    assert level.shape((128, 30, 6)) == (32, 8, 6)


def test_level_spacing_follows_the_grid():
    image = torch.rand(1, 1, 41, 21)
    images = full_images(
        image, image, spacing_mm=torch.tensor([2.0, 3.0]), fixed_mask=None, moving_mask=None, initial=None
    )
    half = images.at(Level(shrink=2, sigma=0.0, iterations=1, learning_rate=0.1))
    assert half.shape == (21, 11)
    torch.testing.assert_close(half.spacing_mm, torch.tensor([[4.0, 6.0]]))
