"""Cubic B-splines against their definition, transposed convolution, SimpleITK and known identities."""

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from torch.autograd import gradcheck, gradgradcheck

from medreg.geometry.bspline import (
    control_grid_shape,
    cubic_bspline,
    evaluate_bspline,
    fit_bspline,
    resample_bspline,
)
from medreg.geometry.grid import identity_grid


@pytest.mark.parametrize(
    ("shape", "stride", "expected"),
    [
        ((160, 160), 4, (43, 43)),
        ((64, 63, 65), 4, (19, 19, 19)),
        ((64, 63, 65), 2, (35, 34, 35)),
        ((176, 192, 176), 4, (47, 51, 47)),
        ((20, 23), (4, 5), (8, 8)),
        ((1, 2), 3, (3, 4)),
    ],
)
def test_control_grid_sizes(shape, stride, expected):
    assert control_grid_shape(shape, stride) == expected


def test_kernel_table_of_midir():
    table = cubic_bspline((torch.arange(15, dtype=torch.float64) - 7) / 4)
    published = [0.002604, 0.020833, 0.070312, 0.166667, 0.315104, 0.479167, 0.611979, 0.666667]
    np.testing.assert_allclose(table[:8].numpy(), published, atol=1e-6)
    torch.testing.assert_close(table, table.flip(0))
    assert table.sum() == pytest.approx(4.0)
    assert cubic_bspline(torch.tensor([2.0, -2.5])).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("shape", "stride"), [((20, 23), 4), ((16, 17, 18), 3), ((5, 9), (2, 7)), ((1, 6), 2)]
)
def test_partition_of_unity_and_linear_precision(shape, stride):
    control = control_grid_shape(shape, stride)
    ones = torch.ones(1, 1, *control)
    torch.testing.assert_close(
        evaluate_bspline(ones, shape, stride), torch.ones(1, 1, *shape), rtol=0, atol=1e-6
    )
    strides = torch.tensor([stride] * len(shape) if isinstance(stride, int) else stride)
    points = (identity_grid(control) - 1) * strides.reshape(1, -1, *[1] * len(shape))
    field = evaluate_bspline(points, shape, stride)
    torch.testing.assert_close(field, identity_grid(shape), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("shape", "stride"), [((19, 23), (4, 3)), ((9, 11, 10), 3)])
def test_evaluation_equals_the_transposed_convolution_of_midir(shape, stride):
    strides = (stride,) * len(shape) if isinstance(stride, int) else stride
    coefficients = torch.randn(2, len(shape), *control_grid_shape(shape, stride), dtype=torch.float64)
    expected = coefficients
    for axis, (size, step) in enumerate(zip(shape, strides, strict=True)):
        kernel = cubic_bspline((torch.arange(4 * step - 1, dtype=torch.float64) - (2 * step - 1)) / step)
        lines = expected.movedim(2 + axis, -1)
        spread = torch.nn.functional.conv_transpose1d(
            lines.reshape(-1, 1, lines.shape[-1]), kernel[None, None], stride=step, padding=2 * step - 1
        )
        expected = spread[..., step : step + size].reshape(*lines.shape[:-1], size).movedim(-1, 2 + axis)
    torch.testing.assert_close(evaluate_bspline(coefficients, shape, stride), expected)


def test_evaluation_equals_the_bspline_transform_of_simpleitk():
    shape, stride = (17, 13), 4
    coefficients = torch.randn(1, 2, *control_grid_shape(shape, stride), dtype=torch.float64)
    transform = sitk.BSplineTransform(2, 3)
    transform.SetTransformDomainOrigin((0.0, 0.0))
    transform.SetTransformDomainPhysicalDimensions(tuple(float(n - 1) for n in shape))
    transform.SetTransformDomainMeshSize(tuple((n - 1) // stride for n in shape))
    transform.SetParameters(coefficients[0].permute(0, 2, 1).flatten().tolist())
    field = evaluate_bspline(coefficients, shape, stride)[0]
    for point in ((0, 0), (3, 7), (10, 11), (15, 2)):
        moved = np.array(transform.TransformPoint(tuple(map(float, point)))) - point
        np.testing.assert_allclose(field[:, point[0], point[1]].numpy(), moved, atol=1e-10)


@pytest.mark.parametrize(("shape", "stride"), [((20, 23), 4), ((10, 11, 13), 3), ((2, 5), 4), ((1, 7), 2)])
def test_fitting_returns_splines_and_linear_fields(shape, stride):
    coefficients = torch.randn(1, 2, *control_grid_shape(shape, stride), dtype=torch.float64)
    field = evaluate_bspline(coefficients, shape, stride)
    again = evaluate_bspline(fit_bspline(field, stride), shape, stride)
    torch.testing.assert_close(again, field, rtol=0, atol=1e-3)
    linear = identity_grid(shape, dtype=torch.float64)
    fitted = evaluate_bspline(fit_bspline(linear, stride), shape, stride)
    torch.testing.assert_close(fitted, linear, rtol=0, atol=1e-9)


def test_fitting_approximates_smooth_fields():
    grid = identity_grid((40, 33), dtype=torch.float64)
    smooth = torch.cat(
        [3 * torch.sin(0.15 * grid[:, :1]), 2 * torch.cos(0.1 * grid[:, 1:] + 0.1 * grid[:, :1])], 1
    )
    again = evaluate_bspline(fit_bspline(smooth, 4), (40, 33), 4)
    assert (again - smooth).abs().max() < 0.01


def test_resampling_keeps_the_field_at_common_places():
    grid = identity_grid((17, 21), dtype=torch.float64)
    smooth = torch.sin(0.3 * grid[:, :1]) * torch.cos(0.2 * grid[:, 1:])
    coarse = fit_bspline(smooth, 4)
    fine = resample_bspline(coarse, (17, 21), (33, 41), 4)
    values = evaluate_bspline(fine, (33, 41), 4)
    torch.testing.assert_close(
        values[..., ::2, ::2], evaluate_bspline(coarse, (17, 21), 4), rtol=0, atol=1e-4
    )


@pytest.mark.parametrize(("shape", "stride"), [((5, 6), 3), ((3, 4, 3), 2)])
def test_evaluation_is_differentiable_twice(shape, stride):
    size = (1, 2, *control_grid_shape(shape, stride))
    coefficients = torch.randn(size, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda c: evaluate_bspline(c, shape, stride), coefficients)
    assert gradgradcheck(lambda c: evaluate_bspline(c, shape, stride) ** 2, coefficients)


def test_half_precision_and_autocast_do_not_reach_the_displacement():
    shape = (32, 32)
    coefficients = torch.randn(1, 2, *control_grid_shape(shape, 4))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(
            evaluate_bspline(coefficients, shape, 4), evaluate_bspline(coefficients, shape, 4)
        )
        mixed = evaluate_bspline(coefficients, shape, 4)
    torch.testing.assert_close(mixed, evaluate_bspline(coefficients, shape, 4))
    assert evaluate_bspline(coefficients.half(), shape, 4).dtype == torch.float32


def test_control_grids_of_the_wrong_size_are_refused():
    with pytest.raises(ValueError, match="control grids of"):
        evaluate_bspline(torch.zeros(1, 2, 5, 5), (20, 20), 4)
    with pytest.raises(ValueError, match="needs 2 strides"):
        control_grid_shape((20, 20), (4, 4, 4))
