"""The operations of RandAugment, each in closed form."""

from __future__ import annotations

import pytest
import torch
from letter_phantom import chance, letters

from medreg.augmentation.batch.geometric_operations import Rotate, Shear, Translate
from medreg.augmentation.batch.operations import (
    Brightness,
    Contrast,
    Equalise,
    Gamma,
    Nothing,
    Posterise,
    Sharpness,
    Solarise,
)
from medreg.errors import ConfigError

ALL = (
    Brightness(0.9), Contrast(0.9), Gamma(0.9), Sharpness(0.9), Posterise(4), Solarise(), Equalise(256),
    Translate(0, 0.45), Shear(0, 1, 0.3), Rotate((0, 1), 30),
)  # fmt: skip


def shaded(operation, values, strength):
    """Values of an image of one row of four voxels, or as many."""
    image = torch.tensor(values).reshape(1, 1, 1, -1)
    return operation(image, torch.ones_like(image), torch.tensor([strength]))[0].flatten()


@pytest.mark.parametrize(
    ("operation", "strength", "expected"),
    [
        (Nothing(), 1.0, [0.0, 0.2, 0.6, 1.0]),
        (Brightness(0.5), 1.0, [0.0, 0.3, 0.9, 1.0]),
        (Brightness(0.5), -1.0, [0.0, 0.1, 0.3, 0.5]),
        (Contrast(1.0), -1.0, [0.45, 0.45, 0.45, 0.45]),
        (Contrast(1.0), 1.0, [0.0, 0.0, 0.75, 1.0]),
        (Gamma(0.6931472), 1.0, [0.0, 0.04, 0.36, 1.0]),
        (Gamma(0.6931472), -1.0, [0.0, 0.4472136, 0.7745967, 1.0]),
        (Posterise(4), 1.0, [0.0, 48 / 255, 144 / 255, 240 / 255]),
        (Posterise(4), 0.0, [0.0, 0.2, 0.6, 1.0]),
        (Solarise(), 0.5, [0.0, 0.2, 0.4, 0.0]),
        (Equalise(256), 1.0, [0.0, 1 / 3, 2 / 3, 1.0]),
    ],
)
def test_intensities_by_hand(operation, strength, expected):
    found = shaded(operation, [0.0, 0.2, 0.6, 1.0], strength)
    torch.testing.assert_close(found, torch.tensor(expected), atol=1e-5, rtol=0)


@pytest.mark.parametrize("ndim", [2, 3])
def test_sharpness_is_the_window_of_torchvision_inside(ndim):
    image = torch.rand(1, 1, *[7] * ndim, generator=chance()) * 0.5 + 0.25
    window = torch.ones(1, 1, *[3] * ndim)
    window[(0, 0, *[1] * ndim)] = 5
    convolution = {2: torch.nn.functional.conv2d, 3: torch.nn.functional.conv3d}[ndim]
    blurred = convolution(image, window / window.sum())
    inner = (slice(None), slice(None), *[slice(1, -1)] * ndim)
    found = Sharpness(0.9)(image, torch.ones_like(image), torch.tensor([-0.5]))[0]
    torch.testing.assert_close(found[inner], image[inner] - 0.45 * (image[inner] - blurred))


def test_equalised_histograms_are_flat():
    image = torch.rand(2, 1, 40, 40, generator=chance()) ** 3
    found = Equalise(256)(image, torch.ones_like(image), torch.ones(2))[0].flatten(1)
    quantiles = torch.quantile(found, torch.tensor([0.25, 0.5, 0.75]), dim=1)
    torch.testing.assert_close(
        quantiles, torch.tensor([[0.25], [0.5], [0.75]]).expand(3, 2), atol=0.06, rtol=0
    )


@pytest.mark.parametrize("shape", [(20, 16), (20, 16, 4)])
def test_a_translation_by_whole_voxels(shape):
    image, target = letters(2, shape)
    new, moved = Translate(axis=0, most=0.25)(image, target, torch.tensor([1.0, -1.0]))
    torch.testing.assert_close(new[0, :, :15], image[0, :, 5:], atol=1e-4, rtol=0)
    torch.testing.assert_close(new[1, :, 5:], image[1, :, :15], atol=1e-4, rtol=0)
    assert torch.equal(moved[0, :, :15], target[0, :, 5:])
    assert bool((moved[0, 0, 15:] == 1).all())


def test_a_shear_moves_lines_in_proportion_to_their_place():
    image, target = letters(1, (21, 21))
    new, _ = Shear(along=0, by=1, most=0.5)(image, target, torch.tensor([1.0]))
    torch.testing.assert_close(new[..., 10], image[..., 10], atol=1e-4, rtol=0)
    torch.testing.assert_close(new[0, 0, :18, 16], image[0, 0, 3:, 16], atol=1e-4, rtol=0)
    torch.testing.assert_close(new[0, 0, 3:, 4], image[0, 0, :18, 4], atol=1e-4, rtol=0)


def test_a_rotation_by_a_quarter():
    image, target = letters(1, (24, 24))
    new, moved = Rotate(plane=(0, 1), most=90)(image, target, torch.tensor([1.0]))
    torch.testing.assert_close(new, image.rot90(3, (2, 3)), atol=1e-4, rtol=0)
    assert torch.equal(moved, target.rot90(3, (2, 3)))


@pytest.mark.parametrize("operation", ALL, ids=lambda operation: type(operation).__name__)
@pytest.mark.parametrize("shape", [(24, 20), (16, 12, 5)])
def test_each_changes_images_keeps_ranges_and_targets_complete(operation, shape):
    image, target = letters(2, shape)
    new, moved = operation(image, target, torch.tensor([0.3, -0.3]))
    assert float((new - image).abs().mean()) > 1e-3
    assert 0 <= float(new.min()) <= float(new.max()) <= 1
    assert bool((moved.sum(1) == 1).all())


def test_axes_that_an_image_has_not_are_named():
    image, target = letters(1, (8, 8))
    for operation in (Translate(2, 0.1), Shear(1, 1, 0.1), Rotate((0, 2), 10)):
        with pytest.raises(ConfigError, match="give different axes from 0 to 1"):
            operation(image, target, torch.ones(1))


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (Brightness, {"most": 0}),
        (Contrast, {"most": -1}),
        (Gamma, {"most": float("nan")}),
        (Sharpness, {"most": 0.0}),
        (Posterise, {"most": 0}),
        (Equalise, {"bins": 1}),
        (Translate, {"axis": -1, "most": 0.1}),
        (Shear, {"along": 0, "by": 1, "most": 0}),
        (Rotate, {"plane": (0,), "most": 30}),
    ],
)
def test_options_that_make_no_sense_are_named(kind, options):
    with pytest.raises(ConfigError, match="give"):
        kind(**options)
