"""Mixup: convex combinations, the distribution of their shares."""

from __future__ import annotations

import pytest
import torch
from letter_phantom import chance, letters
from scipy.stats import beta as beta_law
from scipy.stats import kstest

from medreg.augmentation.batch.mixup import Mixup, beta, partners
from medreg.errors import ConfigError


@pytest.mark.parametrize("shape", [(16, 12), (8, 10, 4)])
def test_images_and_targets_are_the_same_convex_combination(shape):
    image, target = letters(5, shape)
    target = target.roll(torch.arange(5).tolist()[1], 2)
    new, mixture = Mixup(alpha=1.0)(image, target, generator=chance(2))
    generator = chance(2)
    share = beta(1.0, 5, generator=generator, like=image).reshape(-1, *[1] * (image.ndim - 1))
    other = partners(image, generator)
    torch.testing.assert_close(new, share * image + (1 - share) * image[other])
    torch.testing.assert_close(mixture, share * target + (1 - share) * target[other])
    torch.testing.assert_close(mixture.sum(1), torch.ones_like(mixture[:, 0]))
    assert sorted(other.tolist()) == list(range(5))
    assert bool(((share > 0.01) & (share < 0.99)).any())


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_shares_follow_the_beta_law(alpha):
    shares = beta(alpha, 2000, generator=chance(), like=torch.zeros(1, dtype=torch.float64))
    assert kstest(shares.numpy(), beta_law(alpha, alpha).cdf).pvalue > 0.01


def test_tiny_alphas_leave_samples_alone():
    image, target = letters(40, (6, 6))
    new, mixture = Mixup(alpha=1e-3)(image, target, generator=chance())
    assert bool(torch.isfinite(new).all())
    assert float(((mixture > 0.01) & (mixture < 0.99)).float().mean()) < 0.02


def test_a_batch_of_one_meets_itself():
    image, target = letters(1, (6, 6))
    new, mixture = Mixup(alpha=0.4)(image, target, generator=chance())
    torch.testing.assert_close(new, image)
    torch.testing.assert_close(mixture, target)


@pytest.mark.parametrize("alpha", [0, -1.0, float("nan"), "1"])
def test_an_alpha_that_makes_no_sense_is_named(alpha):
    with pytest.raises(ConfigError, match=r"mixup\.alpha is .* above 0"):
        Mixup(alpha=alpha)
