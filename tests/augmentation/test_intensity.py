"""Transformed images in the range of the clean ones."""

from __future__ import annotations

import pytest
import torch

from medreg.augmentation.intensity import Intensity
from medreg.errors import ConfigError


def images():
    generator = torch.Generator().manual_seed(0)
    clean = torch.rand(3, 2, 8, 7, generator=generator) * torch.tensor([1.0, 2.0, 5.0]).reshape(3, 1, 1, 1)
    return clean, clean * 1.3 - 0.4


def test_rescale_brings_each_image_to_its_own_range():
    clean, changed = images()
    kept = Intensity("rescale").keep(changed, clean)
    assert torch.allclose(kept.amin((1, 2, 3)), clean.amin((1, 2, 3)), atol=1e-6)
    assert torch.allclose(kept.amax((1, 2, 3)), clean.amax((1, 2, 3)), atol=1e-6)
    # an affine change of intensities is taken back wholly
    assert torch.allclose(kept, clean, atol=1e-5)


def test_clamp_cuts_at_the_range_of_the_batch_or_at_given_values():
    clean, changed = images()
    assert torch.equal(Intensity("clamp").keep(changed, clean), changed.clamp(clean.min(), clean.max()))
    assert torch.equal(Intensity("clamp", low=0.2).keep(changed, clean), changed.clamp(0.2, clean.max()))
    assert torch.equal(Intensity("clamp", low=0.2, high=0.7).keep(changed, clean), changed.clamp(0.2, 0.7))


def test_none_changes_nothing():
    clean, changed = images()
    assert Intensity("none").keep(changed, clean) is changed


def test_a_constant_image_stays_finite():
    clean = torch.full((1, 1, 4, 4), 0.5)
    kept = Intensity("rescale").keep(clean.clone().requires_grad_(), clean)
    assert torch.equal(kept.detach(), clean)
    kept.sum().backward()


def test_bad_options_are_refused():
    with pytest.raises(ConfigError, match=r"intensity\.kind"):
        Intensity("zscore")
    with pytest.raises(ConfigError, match="belong to kind=clamp"):
        Intensity("rescale", low=0.0)
    with pytest.raises(ConfigError, match="low < high"):
        Intensity("clamp", low=1.0, high=0.0)
