"""Bias fields: control points and bounds as published, a field equal to a formula written with numpy and scipy."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from scipy.signal import fftconvolve

from medreg.augmentation.bias import BiasField
from medreg.errors import ConfigError

LOW, HIGH = math.log(0.7), math.log(1.3)


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


def corners(shape, count, seed=0):
    """Control points that all lie on one of their bounds."""
    return torch.where(torch.rand(count, 1, *shape, generator=chance(seed)) < 0.5, LOW, HIGH)


def spline_by_scipy(points, shape, spacing, downscale):
    """The released field: impulses, a box convolved four times, a crop about the centre, linear upsampling."""
    for axis, (size, step, factor) in enumerate(zip(shape, spacing, downscale, strict=True)):
        step, coarse = step // factor, -(-size // factor)
        kernel = np.ones(step)
        for _ in range(3):
            kernel = np.convolve(kernel, np.ones(step)) / step
        impulses = np.zeros([(n - 1) * step + 1 if k == axis else n for k, n in enumerate(points.shape)])
        impulses[tuple(slice(None, None, step) if k == axis else slice(None) for k in range(points.ndim))] = (
            points
        )
        kernel = kernel.reshape([-1 if k == axis else 1 for k in range(points.ndim)])
        dense = fftconvolve(impulses, kernel, mode="same", axes=axis)
        inner = step * (points.shape[axis] - 3) + 1  # between the first and the last but the outer points
        start = step - (coarse - inner + 1) // 2
        points = np.take(dense, np.arange(start, start + coarse), axis)
        place = (np.arange(size) + 0.5) * (coarse / size) - 0.5
        grid = [place if k == axis else np.arange(n, dtype=float) for k, n in enumerate(points.shape)]
        points = map_coordinates(points, np.meshgrid(*grid, indexing="ij"), order=1, mode="nearest")
    return points


@pytest.mark.parametrize(
    ("shape", "spacing", "downscale", "count"),
    [
        ((192, 192), (96, 96), 2, (4, 4)),
        ((192, 192), (48, 48), 2, (6, 6)),
        ((288, 288), (144, 144), 3, (4, 4)),
        ((90, 77), (45, 38), 2, (5, 5)),
        ((100, 132), (50, 66), 3, (5, 4)),
        ((64, 48, 32), (32, 24, 16), 4, (4, 4, 4)),
    ],
)
def test_the_field_is_the_released_spline(shape, spacing, downscale, count):
    shares = [step / size for step, size in zip(spacing, shape, strict=True)]
    member = BiasField.paper(len(shape), spacing=shares, downscale=downscale)
    phi = member.draw(torch.zeros(2, 3, *shape), generator=chance())
    assert tuple(phi.shape) == (2, 1, *count)
    expected = spline_by_scipy(phi[1, 0].double().numpy(), shape, spacing, [downscale] * len(shape))
    found = member.exponent(phi.double(), shape)[1, 0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-9)
    np.testing.assert_allclose(member.field(phi, shape)[1, 0].numpy(), np.exp(expected), atol=1e-5)


@pytest.mark.parametrize("shape", [(192, 192), (97, 130), (31, 64), (160, 24), (33, 48, 9)])
@pytest.mark.parametrize("spacing", [0.5, 0.25, 0.37])
@pytest.mark.parametrize("downscale", [1, 2, 3])
def test_weights_are_not_negative_and_sum_to_nearly_one(shape, spacing, downscale):
    member = BiasField.paper(len(shape), spacing=spacing, downscale=downscale)
    points = [axis.points for axis in member.axes(shape)]
    constant = member.exponent(torch.full((1, 1, *points), 0.25, dtype=torch.float64), shape)
    least = 0.979 ** len(shape)
    assert float(constant.min()) >= least * 0.25 - 1e-12
    assert float(constant.max()) <= 0.25 + 1e-12
    single = torch.zeros(1, 1, *points, dtype=torch.float64)
    single[..., 0, 0] = 1
    assert float(member.exponent(single, shape).min()) >= 0


def test_a_constant_of_the_published_size_loses_two_percent_an_axis_at_most():
    """A spline at four points of an axis weighs 0.979 to 1 in all; in the corner of a slice both axes count."""
    member = BiasField.paper(2)
    field = member.exponent(torch.full((1, 1, 4, 4), 0.2), (192, 192))
    assert float(field.max()) <= 0.2 + 1e-6
    assert float(field.min()) >= 0.2 * 0.979**2
    assert float(field[..., 96, :].min()) >= 0.2 * 0.979


@pytest.mark.parametrize("space", ["log", "linear"])
@pytest.mark.parametrize(
    ("shape", "downscale"), [((192, 192), 2), ((64, 96), 2), ((25, 31), 3), ((24, 24, 10), 4)]
)
def test_bounds_on_control_points_are_bounds_on_the_field_without_a_clip(shape, downscale, space):
    member = BiasField.paper(len(shape), downscale=downscale, space=space)
    points = [axis.points for axis in member.axes(shape)]
    wild = 5 * torch.randn(100, 1, *points, generator=chance())
    for phi in (member.project(wild), member.project(1e6 * wild)):
        low, high = member.field(phi, shape).aminmax()
        assert 0.7 - 1e-6 <= float(low) < 0.75
        assert 1.25 < float(high) <= 1.3 + 1e-6


def test_the_field_is_smooth():
    member = BiasField.paper(2)
    bound = (HIGH - LOW) / 96
    image = torch.zeros(200, 1, 192, 192)
    for phi in (member.draw(image, generator=chance()), corners((4, 4), 200)):
        logarithm = member.field(phi, (192, 192)).log()
        steepest = max(float(logarithm.diff(dim=axis).abs().max()) for axis in (2, 3))
        assert 0.3 * bound < steepest <= bound


def test_starts():
    image = torch.zeros(500, 1, 64, 64)
    uniform = BiasField.paper(2).draw(image, generator=chance())
    assert float(uniform.mean()) == pytest.approx(-0.047, abs=0.01)
    assert LOW <= float(uniform.min()) < LOW + 0.01
    assert HIGH - 0.01 < float(uniform.max()) <= HIGH
    gaussian = BiasField.paper(2, start="gaussian").draw(image, generator=chance())
    assert (gaussian == LOW).float().mean() > 0.1
    assert (gaussian == HIGH).float().mean() > 0.1
    assert (BiasField.paper(2, start="identity").draw(image, generator=chance()) == 0).all()


def test_the_sphere_of_2021_bounds_nothing_and_is_a_switch():
    old = BiasField.paper(2, projection="sphere", clip=False)
    one = torch.zeros(1, 1, 4, 4)
    one[..., 1, 1] = 1e-3
    stretched = old.project(one)
    assert float(stretched.norm()) == pytest.approx(1.0)
    image = torch.ones(1, 1, 64, 64)
    assert float(old.apply(image, stretched).max()) > 1.35
    clipped = BiasField.paper(2, projection="sphere").apply(image, stretched)
    assert float(clipped.max()) == pytest.approx(1.3)


def test_all_channels_get_the_same_field():
    image = torch.rand(2, 3, 32, 40, generator=chance()) + 0.5
    member = BiasField.paper(2)
    gain = member.apply(image, member.draw(image, generator=chance(1))) / image
    torch.testing.assert_close(gain[:, 1:], gain[:, :1].expand(-1, 2, -1, -1))
    assert (gain[0] - gain[1]).abs().max() > 0.05


def test_negative_images_are_shifted_before_they_are_multiplied():
    image = torch.rand(2, 1, 32, 32, generator=chance())
    image[1] = 2 * image[1] - 1
    phi = torch.full((2, 1, 4, 4), HIGH)
    floor = image[1].min()
    default, never = BiasField.paper(2), BiasField.paper(2, shift="never")
    gain = never.field(phi, (32, 32))
    torch.testing.assert_close(never.apply(image, phi), image * gain)
    torch.testing.assert_close(default.apply(image, phi)[0], (image * gain)[0])
    torch.testing.assert_close(default.apply(image, phi)[1], (image[1] - floor) * gain[1] + floor)
    assert float(default.apply(image, phi)[1].min()) == pytest.approx(float(floor), abs=1e-6)
    always = BiasField.paper(2, shift="always").apply(image + 1, phi)
    torch.testing.assert_close(always[0], (image[0] - image[0].min()) * gain[0] + image[0].min() + 1)


def test_ignored_intensities_and_the_background_stay():
    image = torch.rand(2, 1, 32, 32, generator=chance()) + 0.2
    image[:, :, :8] = 0.1
    image[:, :, 24:] = 3
    phi = torch.full((2, 1, 4, 4), HIGH)
    same = BiasField.paper(2, ignore_background=True).apply(image, phi) == image
    assert same[:, :, :8].all()
    assert not same[:, :, 8:].any()
    same = BiasField.paper(2, ignore=[3, 0.1]).apply(image, phi) == image
    assert same[:, :, :8].all()
    assert same[:, :, 24:].all()
    assert not same[:, :, 8:24].any()


def test_thin_volumes_are_downscaled_less_along_their_thin_axis():
    axes = BiasField.paper(3).axes((64, 64, 10))
    assert [(axis.coarse, axis.spacing) for axis in axes] == [(16, 8), (16, 8), (10, 5)]
    assert BiasField.paper(3).axes((8, 8, 1))[2].points == 3


def test_one_setting_for_every_size():
    for shape in product((64, 96, 200), (64, 130)):
        assert [axis.points for axis in BiasField.paper(2).axes(shape)] in ([4, 4], [4, 5], [5, 4], [5, 5])


def test_control_points_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"have .* control points"):
        BiasField.paper(2).field(torch.zeros(1, 1, 6, 6), (192, 192))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epsilon": 1.0}, "0 ≤ ε < 1"),
        ({"epsilon": -0.1}, "bias.epsilon"),
        ({"spacing": 0.0}, "bias.spacing"),
        ({"downscale": 1.5}, "whole number"),
        ({"space": "square"}, "log or linear"),
        ({"start": "zero"}, "bias.start"),
        ({"projection": "ball"}, "bias.projection"),
        ({"shift": True}, "bias.shift"),
        ({"ignore": 0.0}, "bias.ignore"),
    ],
)
def test_what_makes_no_sense_is_refused(changes, words):
    with pytest.raises(ConfigError, match=words):
        BiasField.paper(2, **changes)


def test_numbers_for_another_number_of_axes_are_refused():
    with pytest.raises(ConfigError, match=r"bias\.spacing.*need 3"):
        BiasField.paper(3, spacing=[0.5, 0.5]).identity(torch.zeros(1, 1, 16, 16, 16))
