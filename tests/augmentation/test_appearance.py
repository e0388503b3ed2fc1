"""Scaling within the foreground, the redraw rule, and appearances that hide nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medreg.augmentation.appearance import Appearance, Scaling, percentile
from medreg.augmentation.random_convolution import Draw, RandomConvolution, Stack, Unchanged

SCALING = Scaling(low=0.5, high=99.5, foreground=0.02)
STACK = Stack(layers=4, channels=8, wide=0.0, bias=0.3, slope=0.01)


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


def discs(count=4, size=32):
    """A bright disc with a dark core on black."""
    axis = torch.linspace(-1, 1, size)
    radius = (axis[:, None] ** 2 + axis**2).sqrt()
    image = 0.8 * (radius < 0.7) - 0.4 * (radius < 0.3)
    return image.expand(count, 1, size, size).clone()


def appearance(convolution, **changes):
    return Appearance(convolution, **({"least_sd": 0.03, "redraws": 5, "blank": 0.5} | changes))


@pytest.mark.parametrize("percent", [0.0, 0.5, 37.0, 50.0, 99.5, 100.0])
def test_percentiles_are_those_of_numpy(percent):
    values = torch.rand(3, 50, generator=chance(), dtype=torch.float64)
    chosen = torch.arange(50) % torch.tensor([[1], [3], [50]]) == 0  # 50, 17 and 1 of them
    expected = [np.percentile(row[keep].numpy(), percent) for row, keep in zip(values, chosen, strict=True)]
    found = percentile(values, chosen, percent)[:, 0]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_scaling_looks_at_the_foreground_only():
    image = discs(1)
    inside = SCALING.inside(image)
    assert torch.equal(inside, image > 0)
    scaled = SCALING(image, inside)
    assert sorted(scaled.unique().tolist()) == [0.0, 1.0]  # background 0; the dark core is the low percentile
    shifted = SCALING(5 + 3 * image, SCALING.inside(5 + 3 * image))
    torch.testing.assert_close(shifted, scaled)


def test_scaling_is_differentiable_twice():
    image = torch.rand(2, 1, 5, 6, dtype=torch.float64, generator=chance(3)).add_(0.1).requires_grad_(True)
    inside = torch.ones_like(image, dtype=torch.bool)
    soft = Scaling(low=0.0, high=100.0, foreground=0.0)
    assert torch.autograd.gradcheck(lambda x: soft(x, inside), (image,))
    assert torch.autograd.gradgradcheck(lambda x: soft(x, inside).square(), (image,))


def test_an_image_without_contrast_becomes_zero_and_has_no_gradient():
    image = torch.full((2, 1, 4, 4), 0.7, requires_grad=True)
    out = SCALING(image, SCALING.inside(image))
    out.sum().backward()
    assert not out.any()
    assert torch.isfinite(image.grad).all()


def test_appearances_lie_in_the_unit_interval_and_differ():
    image = discs(16) * torch.linspace(0.7, 1, 32)
    out = appearance(STACK)(image, scaling=SCALING, generator=chance())
    assert float(out.min()) >= 0
    assert float(out.max()) <= 1
    assert not out.requires_grad
    assert len({tuple(row.tolist()) for row in out.flatten(1)}) == 16
    spread = torch.stack([row[inside].std() for row, inside in zip(out, image > 0, strict=True)])
    assert float(spread.min()) >= 0.03


@pytest.mark.parametrize(("blank", "black"), [(0.0, 0.0), (1.0, 1.0)])
def test_the_background_is_a_random_grey_or_black(blank, black):
    image = discs(32)
    out = appearance(STACK, blank=blank)(image, scaling=SCALING, generator=chance())
    corners = out[:, 0, 0, 0]
    assert float((corners == 0).float().mean()) == pytest.approx(black, abs=0.6 if blank == 0 else 0)
    assert torch.unique(corners).numel() > 1 or blank == 1.0


class Counting(RandomConvolution):
    """Makes everything flat for the first calls."""

    def __init__(self, flat):
        self.flat, self.sizes = flat, []

    def draw(self, count, *, ndim, generator):
        self.sizes.append(count)
        return Draw(())

    def apply(self, image, draw):
        return torch.zeros_like(image) if len(self.sizes) <= self.flat else image


def test_flat_samples_are_drawn_again_and_only_those():
    g = Counting(flat=2)
    out = appearance(g)(discs(3), scaling=SCALING, generator=chance())
    assert g.sizes == [3, 3, 3]
    assert out.any()


def test_a_constant_image_ends_the_redraws():
    g = Counting(flat=0)
    out = appearance(g)(torch.ones(2, 1, 8, 8), scaling=SCALING, generator=chance())
    assert g.sizes == [2] * 6
    assert not out.any()
    assert torch.isfinite(
        appearance(STACK)(torch.ones(2, 1, 8, 8), scaling=SCALING, generator=chance())
    ).all()


def test_without_convolution_the_image_is_only_scaled():
    image = discs(2)
    out = appearance(Unchanged(), blank=0.0)(image, scaling=SCALING, generator=chance())
    torch.testing.assert_close(out, SCALING(image, SCALING.inside(image)))
