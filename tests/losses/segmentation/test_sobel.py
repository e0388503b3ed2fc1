"""Sobel maps against the convolution they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import sobel as of_scipy

from medreg.losses.segmentation.sobel import sobel


@pytest.mark.parametrize("shape", [(7, 6), (6, 5, 7)])
def test_equals_scipy_on_every_axis(shape):
    values = torch.randn(2, 3, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    maps = sobel(values)
    assert maps.shape == (2, 3, len(shape), *shape)
    for axis in range(len(shape)):
        theirs = of_scipy(values[1, 2].numpy(), axis=axis, mode="constant")
        np.testing.assert_allclose(-maps[1, 2, axis].numpy(), theirs, atol=1e-12)


def test_the_released_defect_repeats_the_second_axis_in_3d_and_nothing_else():
    values = torch.randn(1, 1, 6, 5, 7, generator=torch.Generator().manual_seed(0))
    right, blind = sobel(values), sobel(values, blind=True)
    assert torch.equal(blind[:, :, 0], right[:, :, 1])
    assert torch.equal(blind[:, :, 1:], right[:, :, 1:])
    flat = values[..., 0]
    assert torch.equal(sobel(flat, blind=True), sobel(flat))
