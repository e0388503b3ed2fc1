"""Composition, inversion and change of grid."""

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from medreg.geometry.compose import compose, invert, pyramid_shapes, resize, resize_displacement
from medreg.geometry.grid import identity_grid, matrix_to_displacement
from medreg.geometry.warp import warp


def smooth_field(shape, amplitude, phase=0.0):
    """Sine waves that vanish at the border, so that no sample leaves the image."""
    grid = identity_grid(shape, dtype=torch.float64)
    bump = torch.ones_like(grid[:, :1])
    for axis, size in enumerate(shape):
        bump = bump * torch.sin(torch.pi * grid[:, axis : axis + 1] / (size - 1))
    waves = [torch.cos(0.2 * grid[:, k : k + 1] + phase + k) for k in range(len(shape))]
    return amplitude * bump * torch.cat(waves, 1)


@pytest.mark.parametrize("shape", [(24, 30), (14, 16, 18)])
def test_two_warps_equal_one_warp_by_the_composition_on_a_linear_image(shape):
    u, v = smooth_field(shape, 1.5), smooth_field(shape, 1.2, phase=1.0)
    ramp = sum((k + 1) * axis for k, axis in enumerate(identity_grid(shape, dtype=torch.float64)[0]))
    image = ramp[None, None]
    twice = warp(warp(image, u), v)
    once = warp(image, compose(u, v))
    torch.testing.assert_close(once, twice, rtol=0, atol=1e-10)
    # and not in the other order
    assert (warp(image, compose(v, u)) - twice).abs().max() > 1e-2


def test_composition_with_the_identity_changes_nothing():
    u = smooth_field((10, 12), 1.0)
    zero = torch.zeros_like(u)
    torch.testing.assert_close(compose(u, zero), u)
    torch.testing.assert_close(compose(zero, u), u)


@pytest.mark.parametrize("shape", [(32, 28), (16, 18, 20)])
def test_inverse_undoes_the_field_both_ways(shape):
    u = smooth_field(shape, 4.0 / len(shape) ** 1.5)
    inverse = invert(u, iterations=60, tolerance=1e-6)
    assert inverse.residual_voxels_max < 1e-6
    assert inverse.residual_voxels_mean <= inverse.residual_voxels_max
    assert 0 < inverse.iterations <= 60
    assert compose(u, inverse.displacement).abs().max() < 1e-6
    # the other order sees the linear interpolation between voxels
    assert compose(inverse.displacement, u).abs().max() < 0.05


def test_inverse_of_an_affine_map_with_slopes_above_one():
    centre = torch.tensor([15.5, 15.5], dtype=torch.float64)
    linear = torch.tensor([[2.4, 0.3], [-0.3, 2.2]], dtype=torch.float64)
    matrix = torch.cat([linear, (centre - linear @ centre)[:, None]], 1)[None]
    u = matrix_to_displacement(matrix, (32, 32))
    inverse = invert(u, iterations=80, tolerance=1e-5)
    assert inverse.residual_voxels_max < 1e-5
    back = torch.linalg.inv(linear)
    expected = matrix_to_displacement(torch.cat([back, (centre - back @ centre)[:, None]], 1)[None], (32, 32))
    torch.testing.assert_close(inverse.displacement, expected, rtol=0, atol=1e-4)


def test_a_folded_field_reports_its_residual():
    u = matrix_to_displacement(torch.tensor([[[-1.5, 0.0, 20.0], [0.0, 1.0, 0.0]]]), (16, 16))
    u = u + torch.randn(u.shape, generator=torch.Generator().manual_seed(0))
    assert invert(u, iterations=20, tolerance=1e-3).residual_voxels_max > 0.1


def test_inverse_agrees_with_simpleitk():
    u = smooth_field((24, 20), 1.5)
    image = sitk.GetImageFromArray(u[0].permute(2, 1, 0).contiguous().numpy(), isVector=True)
    reference = sitk.InvertDisplacementField(
        image,
        maximumNumberOfIterations=100,
        meanErrorToleranceThreshold=1e-6,
        maxErrorToleranceThreshold=1e-5,
    )
    expected = torch.from_numpy(sitk.GetArrayFromImage(reference)).permute(2, 1, 0)
    difference = (invert(u).displacement[0] - expected)[:, 1:-1, 1:-1].abs()
    assert difference.max() < 2e-2


def test_displacement_field_transform_of_simpleitk_warps_the_same():
    shape = (16, 14, 12)
    u = smooth_field(shape, 1.5)
    moving = torch.rand(1, 1, *shape, dtype=torch.float64)
    field = sitk.GetImageFromArray(np.ascontiguousarray(u[0].permute(3, 2, 1, 0).numpy()), isVector=True)
    image = sitk.GetImageFromArray(np.ascontiguousarray(moving[0, 0].numpy().transpose()))
    resampled = sitk.Resample(image, image, sitk.DisplacementFieldTransform(field), sitk.sitkLinear)
    expected = sitk.GetArrayFromImage(resampled).transpose()[1:-1, 1:-1, 1:-1]
    np.testing.assert_allclose(warp(moving, u)[0, 0, 1:-1, 1:-1, 1:-1].numpy(), expected, atol=1e-10)


@pytest.mark.parametrize(("old", "new"), [((9, 12), (17, 30)), ((8, 9, 10), (4, 5, 5)), ((1, 6), (3, 6))])
def test_resizing_a_displacement_keeps_the_map(old, new):
    ndim = len(old)
    matrix = torch.eye(ndim, dtype=torch.float64) + 0.1 * torch.randn(ndim, ndim, dtype=torch.float64)
    u = matrix_to_displacement(torch.cat([matrix, torch.ones(ndim, 1, dtype=torch.float64)], 1)[None], old)
    gains = torch.tensor([(b - 1) / (a - 1) if min(a, b) > 1 else 1.0 for a, b in zip(old, new, strict=True)])
    resized = resize_displacement(u, new)
    corner_old = u.flatten(2)[0, :, -1]
    torch.testing.assert_close(resized.flatten(2)[0, :, -1], corner_old * gains)
    torch.testing.assert_close(resized.flatten(2)[0, :, 0], u.flatten(2)[0, :, 0] * gains)


@pytest.mark.parametrize(("old", "new", "gain"), [(40, 80, 79 / 39), (80, 160, 159 / 79)])
def test_gain_of_a_level_change_is_exact_or_the_factor_two_of_the_release(old, new, gain):
    u = torch.ones(1, 2, old, old, dtype=torch.float64)
    assert resize_displacement(u, (new, new))[0, 0, 0, 0] == pytest.approx(gain)
    assert resize_displacement(u, (new, new), gain="authors")[0, 0, 0, 0] == pytest.approx(2.0)


def test_resize_matches_the_corners_and_keeps_integer_codes():
    image = torch.rand(2, 3, 5, 7, 6)
    larger = resize(image, (9, 13, 11))
    torch.testing.assert_close(larger[:, :, ::2, ::2, ::2], image)
    labels = torch.randint(0, 2**40, (1, 1, 5, 7))
    picked = resize(labels, (9, 4), mode="nearest")
    assert picked.dtype == torch.int64
    assert (picked[:, :, ::2] == labels[:, :, :, ::2]).all()
    assert resize(image, (5, 7, 6)) is image
    with pytest.raises(ValueError, match="unknown resize mode"):
        resize(image, (3, 3, 3), mode="cubic")
    with pytest.raises(ValueError, match="unknown gain"):
        resize_displacement(torch.zeros(1, 2, 3, 3), (5, 5), gain="half")


def test_pyramid_shapes_halve_and_round_up():
    assert pyramid_shapes((160, 160), 3) == [(40, 40), (80, 80), (160, 160)]
    assert pyramid_shapes((7, 1, 10), 3) == [(2, 1, 3), (4, 1, 5), (7, 1, 10)]
    with pytest.raises(ValueError, match="at least one level"):
        pyramid_shapes((8, 8), 0)
