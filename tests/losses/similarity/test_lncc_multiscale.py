"""Multi-scale LNCC against the formula of the release, its bounds and the measures of its levels."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from medreg.errors import ConfigError
from medreg.losses.similarity.lncc_multiscale import MultiscaleLNCC, pool, subsample


def measure(window=7, scales=3):
    return MultiscaleLNCC(window=window, scales=scales, weight=1.0, eps=1e-8, border="zeros")


def released(first, second, window):
    """Squared local correlation with zero padding as in CSAIN's released code, mean over the image."""
    kernel = torch.ones(1, 1, window, window, dtype=first.dtype)

    def total(image):
        return F.conv2d(image, kernel, padding=window // 2)

    count = window**2
    a, b = total(first), total(second)
    cross = total(first * second) - a * b / count
    variances = (total(first**2) - a**2 / count) * (total(second**2) - b**2 / count)
    return -(cross**2 / (variances + 1e-8)).mean()


@pytest.mark.parametrize("levels", [0, 1, 2])
def test_equals_the_release(levels):
    first, second = torch.rand(
        2, 1, 1, 32, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    window, expected = 7 - 2 * levels, 0.0
    for k in range(3 - levels):
        expected += 0.5**k * released(pool(first, times=k), pool(second, times=k), window - 2 * k)
    torch.testing.assert_close(
        measure().coarser(levels)(first, second), torch.as_tensor([float(expected)]).double()
    )


def test_best_value():
    image = torch.rand(1, 1, 32, 32)
    values = [float(measure().coarser(k)(image, image)) for k in range(3)]
    assert values == pytest.approx([-1.75, -1.5, -1.0], abs=1e-4)


def test_outside_the_mask_nothing_counts():
    first, second = torch.rand(2, 1, 1, 32, 32)
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., :16, :] = 1
    other = second.clone()
    other[..., 24:, :] = torch.nan
    assert torch.isfinite(measure(5, 1)(first, other, mask=mask))


def test_pooling_is_centred_on_every_second_voxel():
    x = torch.arange(9.0).view(1, 1, 9, 1).expand(1, 1, 9, 6)
    assert pool(x)[0, 0, 1:-1, 0].tolist() == [2, 4, 6]
    assert subsample(x)[0, 0, :, 0].tolist() == [0, 2, 4, 6, 8]
    assert pool(x, times=2).shape == subsample(x, times=2).shape


def test_a_window_that_vanishes_is_refused():
    with pytest.raises(ConfigError, match="shrinks by 2"):
        measure(5, 3)
