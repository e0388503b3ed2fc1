"""Compiled smoothing against scipy and against the matrix products that run where a gradient is wanted."""

import pytest
import scipy.ndimage
import torch

from medreg.inference.smoothing import gaussian_kernel, gaussian_smooth
from medreg.kernels.compile import available

pytestmark = pytest.mark.skipif(not available(), reason="numba is not installed")


@pytest.mark.parametrize("shape", [(7, 9), (1, 5), (5, 1), (4, 6, 5), (3, 2, 700), (2, 23, 30)])
@pytest.mark.parametrize("sigma", [0.4, 3.0])
def test_smoothing_equals_scipy_and_the_differentiable_form(shape, sigma):
    image = torch.rand(2, 3, *shape, dtype=torch.float64)
    smooth = gaussian_smooth(image, sigma)
    window = gaussian_kernel(sigma, dtype=torch.float64, device=torch.device("cpu")).numpy()
    expected = image.numpy()
    for axis in range(2, image.ndim):
        expected = scipy.ndimage.correlate1d(expected, window, axis=axis, mode="nearest")
    torch.testing.assert_close(smooth, torch.from_numpy(expected), rtol=0, atol=1e-12)
    differentiable = gaussian_smooth(image.clone().requires_grad_(True), sigma)
    assert differentiable.requires_grad
    torch.testing.assert_close(smooth, differentiable.detach(), rtol=0, atol=1e-12)


def test_an_axis_may_be_left_alone_and_the_input_is_never_written():
    image = torch.rand(1, 1, 6, 40).transpose(2, 3)
    before = image.clone()
    smooth = gaussian_smooth(image, (0.0, 1.5))
    assert torch.equal(image, before)
    torch.testing.assert_close(smooth[:, :, 3:4], gaussian_smooth(image[:, :, 3:4], (0.0, 1.5)))
    assert torch.equal(gaussian_smooth(image, 0.0), image)
