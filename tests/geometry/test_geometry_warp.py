"""Warping against scipy, its identities, its derivatives and the released conventions."""

import numpy as np
import pytest
import scipy.ndimage
import torch
from torch.autograd import gradcheck, gradgradcheck

import medreg.geometry.warp as module
from medreg.geometry.warp import sample, warp, warp_gather, warp_labels, warp_points

SCIPY_MODES = {"border": "nearest", "zeros": "grid-constant"}
SHAPES = [(13, 17), (9, 7, 11)]


def random_field(shape, amplitude, *, batch=1, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return amplitude * torch.randn(batch, len(shape), *shape, generator=generator, dtype=dtype)


def positions(displacement):
    shape = displacement.shape[2:]
    axes = [torch.arange(n, dtype=displacement.dtype) for n in shape]
    return displacement + torch.stack(torch.meshgrid(*axes, indexing="ij"))


@pytest.mark.parametrize("padding", ["border", "zeros"])
@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize(("shape", "moving"), [((13, 17), (11, 20)), ((9, 7, 11), (8, 12, 5))])
def test_warp_equals_scipy_map_coordinates_for_moving_images_of_another_size(shape, moving, order, padding):
    image = np.random.default_rng(1).random(moving)
    field = random_field(shape, 3.0)
    ours = warp(
        torch.from_numpy(image)[None, None], field, mode=("nearest", "linear")[order], padding=padding
    )
    expected = scipy.ndimage.map_coordinates(
        image, positions(field)[0].numpy(), order=order, mode=SCIPY_MODES[padding]
    )
    np.testing.assert_allclose(ours[0, 0].numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("shape", [(160, 21), (20, 31, 9), (1, 5, 6), (7, 1), (1, 1)])
@pytest.mark.parametrize("padding", ["border", "zeros"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_zero_displacement_returns_the_image(shape, padding, dtype):
    smooth = sum(
        torch.sin(0.3 * axis) for axis in positions(torch.zeros(1, len(shape), *shape, dtype=dtype))[0]
    )
    image = smooth.expand(2, 3, *shape)
    warped = warp(image, torch.zeros(2, len(shape), *shape, dtype=dtype), padding=padding)
    # rounding of normalised coordinates is 1e-5 voxels at 160, times a slope of 0.3 a voxel
    torch.testing.assert_close(warped, image, rtol=0, atol=3e-6 if dtype == torch.float32 else 1e-13)


@pytest.mark.parametrize("shape", [(12, 9), (6, 9, 12)])
@pytest.mark.parametrize("mode", ["linear", "nearest"])
def test_whole_voxel_shift_rolls_the_image_along_every_axis(shape, mode):
    image = torch.rand(1, 1, *shape)
    for axis in range(len(shape)):
        for shift in (-2, 3):
            field = torch.zeros(1, len(shape), *shape)
            field[:, axis] = shift
            warped = warp(image, field, mode=mode)
            start = max(-shift, 0)
            inner = (2 + axis, start, shape[axis] - abs(shift))
            expected = image.roll(-shift, 2 + axis)
            torch.testing.assert_close(warped.narrow(*inner), expected.narrow(*inner), rtol=0, atol=1e-6)


@pytest.mark.parametrize("padding", ["border", "zeros"])
@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 2)])
def test_warp_is_differentiable_twice_natively_and_with_gathers(shape, padding):
    moving = tuple(n + 1 for n in shape)
    image = torch.rand(1, 1, *moving, dtype=torch.float64, requires_grad=True)
    field = random_field(shape, 0.8, seed=3).add(0.137).requires_grad_(True)

    def by_gather(image, field):
        return warp_gather(image, positions(field), padding=padding)

    for function in (lambda image, field: warp(image, field, padding=padding), by_gather):
        assert gradcheck(function, (image, field))
        assert gradgradcheck(function, (image, field))


@pytest.mark.parametrize("padding", ["border", "zeros"])
@pytest.mark.parametrize("shape", SHAPES)
def test_gather_fallback_equals_the_native_sampler_in_value_and_derivatives(shape, padding, monkeypatch):
    image = torch.rand(2, 1, *shape, dtype=torch.float64)
    field = random_field(shape, 2.0, batch=2)

    def results():
        moving, leaf = image.clone().requires_grad_(True), field.clone().requires_grad_(True)
        value = warp(moving, leaf, padding=padding)
        first = torch.autograd.grad((value**2).sum(), leaf, create_graph=True)[0]
        return value, first, *torch.autograd.grad((first**2).sum(), (moving, leaf))

    native = results()
    monkeypatch.setattr(module, "_differentiates_twice", lambda device_type, ndim: False)
    for ours, expected in zip(results(), native, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("size", [40, 64, 128, 160])
def test_derivative_at_zero_displacement_is_the_forward_difference_at_every_inner_lattice_point(size):
    image = torch.rand(1, 1, size, 3)
    field = torch.zeros(1, 2, size, 3, requires_grad=True)
    (slope,) = torch.autograd.grad(warp(image, field).sum(), field)
    expected = image[0, 0, 2:] - image[0, 0, 1:-1]
    torch.testing.assert_close(slope[0, 0, 1:-1], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int16, torch.uint8, torch.bool, torch.float32])
def test_nearest_keeps_every_dtype_and_large_codes_exactly(dtype):
    largest = {
        torch.int64: 2**53 + 1,
        torch.int16: 32767,
        torch.uint8: 255,
        torch.bool: 1,
        torch.float32: 0.1,
    }
    labels = torch.zeros(1, 1, 6, 7, dtype=dtype)
    labels[0, 0, 2, 3] = largest[dtype]
    field = torch.zeros(1, 2, 6, 7)
    field[:, 1] = 1.3
    warped = warp_labels(labels, field)
    assert warped.dtype == dtype
    assert warped[0, 0, 2, 2] == labels[0, 0, 2, 3]
    assert (warped != 0).sum() == 1


def test_not_a_number_in_a_field_does_not_crash_label_warping():
    field = torch.full((1, 2, 4, 4), torch.nan)
    assert (warp_labels(torch.ones(1, 1, 4, 4, dtype=torch.int64), field) == 0).all()


def test_zeros_padding_also_holds_along_an_axis_of_one_voxel():
    field = torch.zeros(1, 2, 1, 5, dtype=torch.float64)
    field[:, 0] = 0.25
    ones = torch.ones(1, 1, 1, 5, dtype=torch.float64)
    torch.testing.assert_close(warp(ones, field, padding="zeros"), 0.75 * ones)
    torch.testing.assert_close(warp(ones, field, padding="border"), ones)


def test_half_precision_images_are_sampled_in_single_precision():
    image = torch.rand(1, 1, 200, 4).half()
    field = torch.zeros(1, 2, 200, 4)
    field[:, 0] = 0.5
    assert warp(image, field).dtype == torch.float32
    expected = (image.float()[:, :, 1:] + image.float()[:, :, :-1]) / 2
    torch.testing.assert_close(warp(image, field)[:, :, :-1], expected, rtol=0, atol=2e-5)


def test_batch_of_one_broadcasts_either_way():
    image, fields = torch.rand(1, 1, 5, 6), random_field((5, 6), 1.0, batch=3, dtype=torch.float32)
    for mode in ("linear", "nearest"):
        together = warp(image, fields, mode=mode)
        for index in range(3):
            torch.testing.assert_close(
                together[index : index + 1], warp(image, fields[index : index + 1], mode=mode)
            )
        assert warp(image.expand(3, -1, -1, -1), fields[:1], mode=mode).shape[0] == 3


def test_points_move_with_the_field_and_images_against_it():
    fixed_point = torch.tensor([[[4.0, 6.0], [3.5, 2.25]]])
    field = torch.zeros(1, 2, 10, 12)
    field[:, 0], field[:, 1] = 2.0, -1.0
    torch.testing.assert_close(warp_points(fixed_point, field), fixed_point + torch.tensor([2.0, -1.0]))
    moving = torch.zeros(1, 1, 10, 12)
    moving[0, 0, 6, 5] = 1
    assert warp(moving, field)[0, 0, 4, 6] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("padding", ["border", "zeros"])
@pytest.mark.parametrize("shape", SHAPES)
def test_sample_equals_scipy_at_scattered_points(shape, padding):
    field = np.random.default_rng(2).random((2, 3, *shape))
    points = np.random.default_rng(3).uniform(-2, max(shape) + 1, (2, 20, len(shape)))
    ours = sample(torch.from_numpy(field), torch.from_numpy(points), padding=padding)
    for batch in range(2):
        for channel in range(3):
            expected = scipy.ndimage.map_coordinates(
                field[batch, channel], points[batch].T, order=1, mode=SCIPY_MODES[padding]
            )
            np.testing.assert_allclose(ours[batch, :, channel].numpy(), expected, atol=1e-12)


@pytest.mark.parametrize(("size", "factor"), [(40, 0.975), (80, 0.9875), (160, 0.99375)])
def test_authors_convention_shortens_a_unit_displacement(size, factor):
    ramp = torch.arange(size, dtype=torch.float64).reshape(1, 1, size, 1).expand(1, 1, size, 4)
    field = torch.zeros(1, 2, size, 4, dtype=torch.float64)
    field[:, 0] = 1.0
    moved = warp(ramp, field, convention="authors") - ramp
    torch.testing.assert_close(moved[:, :, 1:-2], torch.full_like(moved[:, :, 1:-2], factor))


def test_authors_convention_picks_wrong_labels():
    codes = torch.arange(160).reshape(1, 1, 160, 1).expand(1, 1, 160, 160).transpose(2, 3)
    field = torch.zeros(1, 2, 160, 160, dtype=torch.float64)
    still = warp(codes, field, mode="nearest", padding="zeros", convention="authors")
    assert (still[..., :-1, :-1] == codes[..., :-1, :-1]).all()
    assert (still[..., -1] == 0).all()
    field += 0.3
    exact = warp(codes, field, mode="nearest", convention="exact")
    legacy = warp(codes, field, mode="nearest", convention="authors")
    assert (exact == codes).all()
    assert (legacy != codes)[0, 0, 0].double().mean() == pytest.approx(0.29, abs=0.02)


def test_midir_convention_is_not_the_identity_at_zero_displacement():
    ones = torch.ones(1, 1, 33, 33, dtype=torch.float64)
    field = torch.zeros(1, 2, 33, 33, dtype=torch.float64)
    warped = warp(ones, field, padding="zeros", convention="midir")
    assert warped[0, 0, 0, 16] == pytest.approx(0.5)
    assert warped[0, 0, 0, 0] == pytest.approx(0.25)
    ramp = torch.arange(33, dtype=torch.float64).reshape(1, 1, 33, 1).expand(1, 1, 33, 33)
    moved = warp(ramp, field, convention="midir") - ramp
    assert moved[0, 0, 8, 0] == pytest.approx(-0.25)


@pytest.mark.parametrize("inference", [True, False])
def test_warp_works_in_and_after_inference_mode(inference):
    image, field = torch.rand(1, 1, 14, 3), torch.full((1, 2, 14, 3), 0.3)
    with torch.inference_mode(inference):
        first = warp(image, field)
    leaf = field.clone().requires_grad_(True)
    second = warp(image, leaf)
    second.sum().backward()
    torch.testing.assert_close(first.clone(), second.detach())
    assert torch.isfinite(leaf.grad).all()


def test_mistakes_are_named():
    image, field = torch.zeros(1, 1, 4, 4), torch.zeros(1, 2, 4, 4)
    with pytest.raises(ValueError, match="unknown padding"):
        warp(image, field, padding="reflection")
    with pytest.raises(ValueError, match="unknown mode"):
        warp(image, field, mode="cubic")
    with pytest.raises(ValueError, match="expected a displacement"):
        warp(image, torch.zeros(1, 3, 4, 4))
    with pytest.raises(ValueError, match="different numbers of axes"):
        warp(image, torch.zeros(1, 3, 4, 4, 4))
    with pytest.raises(ValueError, match="2 images but 3"):
        warp(image.expand(2, -1, -1, -1), field.expand(3, -1, -1, -1))
    with pytest.raises(ValueError, match="expected points"):
        sample(image, torch.zeros(1, 5, 3))
