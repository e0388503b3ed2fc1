"""Box sums against a direct convolution."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from medreg.losses.similarity.window import box_sum, window_count


def direct_sum(values, window):
    ndim = values.ndim - 2
    kernel = torch.ones(1, 1, *[window] * ndim, dtype=values.dtype)
    convolve = {2: F.conv2d, 3: F.conv3d}[ndim]
    flat = values.flatten(0, 1)[:, None]
    return convolve(flat, kernel, padding=window // 2).view_as(values)


@pytest.mark.parametrize("shape", [(2, 3, 17, 12), (1, 2, 9, 7, 11), (1, 1, 3, 30)])
@pytest.mark.parametrize("window", [3, 5, 9, 13])
def test_equals_direct_convolution(shape, window):
    values = torch.randn(shape, dtype=torch.float64)
    torch.testing.assert_close(box_sum(values, window), direct_sum(values, window), rtol=0, atol=1e-12)


def test_keeps_float32_digits_along_a_long_axis():
    values = 1.0 + torch.rand(1, 1, 4, 20000)
    error = (box_sum(values, 3) - direct_sum(values.double(), 3)).abs().max()
    assert error < 5e-6  # a plain running sum in float32 is off by 5e-3 here


def test_counts_voxels_inside():
    ones = torch.ones(1, 1, 6, 5, 8, dtype=torch.float64)
    count = window_count(ones.shape[2:], 5, dtype=ones.dtype, device=ones.device)
    torch.testing.assert_close(count, direct_sum(ones, 5))


def test_derivatives_of_every_order():
    values = torch.randn(1, 2, 6, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: box_sum(v, 3), (values,))
    assert torch.autograd.gradgradcheck(lambda v: box_sum(v, 3).square(), (values,))
