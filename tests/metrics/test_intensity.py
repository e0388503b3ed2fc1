"""Image error: closed form, channels and masks."""

from __future__ import annotations

import pytest
import torch

from medreg.metrics.intensity import rmse


def test_rmse_of_a_constant_offset_is_the_offset():
    image = torch.rand(2, 1, 5, 4)
    torch.testing.assert_close(rmse(image, image - 0.25), torch.full((2,), 0.25, dtype=torch.float64))


def test_rmse_is_restricted_to_the_mask():
    fixed, warped = torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4)
    warped[..., 0, :] = 3.0
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., :2, :] = 1
    assert rmse(fixed, warped).item() == pytest.approx(1.5)
    assert rmse(fixed, warped, mask=mask).item() == pytest.approx(4.5**0.5)
