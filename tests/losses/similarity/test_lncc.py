"""Local correlation: borders, masks, parity and accuracy."""

from __future__ import annotations

import pytest
import torch
from monai.losses import LocalNormalizedCrossCorrelationLoss

from medreg.errors import ConfigError
from medreg.losses.similarity.lncc import LNCC, LNCCSigned


def window_by_window(warped, fixed, window, keep, eps):
    """Mean of cov²/(var·var + eps) with numpy-like loops; keep (X, Y) marks the voxels that count."""
    radius = window // 2
    values = []
    for i, j in keep.nonzero().tolist():
        box = slice(max(i - radius, 0), i + radius + 1), slice(max(j - radius, 0), j + radius + 1)
        seen = keep[box]
        w, f = warped[box][seen], fixed[box][seen]
        w, f = w - w.mean(), f - f.mean()
        values.append((w * f).sum() ** 2 / ((w * w).sum() * (f * f).sum() + eps))
    return torch.stack(values).mean()


def test_border_and_mask_count_only_voxels_inside():
    torch.manual_seed(0)
    warped, fixed = torch.rand(2, 11, 9, dtype=torch.float64)
    keep = torch.rand(11, 9) > 0.3
    loss = LNCC(window=5, weight=1.0)
    everywhere = loss(warped[None, None], fixed[None, None])
    whole = window_by_window(warped, fixed, 5, torch.ones(11, 9, dtype=torch.bool), 1e-5)
    assert everywhere.item() == pytest.approx(-whole.item(), abs=1e-12)
    masked = loss(warped[None, None], fixed[None, None], mask=keep[None, None])
    assert masked.item() == pytest.approx(-window_by_window(warped, fixed, 5, keep, 1e-5).item(), abs=1e-12)


@pytest.mark.parametrize("shape", [(2, 2, 20, 23), (1, 1, 12, 11, 13)])
def test_zero_padded_form_equals_monai(shape):
    torch.manual_seed(0)
    warped, fixed = torch.rand(2, *shape, dtype=torch.float64)
    monai = LocalNormalizedCrossCorrelationLoss(spatial_dims=len(shape) - 2, kernel_size=9, smooth_dr=1e-12)
    ours = LNCC(window=9, weight=1.0, border="zeros", eps=1e-12)(warped, fixed).mean()
    assert ours.item() == pytest.approx(monai(warped, fixed).item(), abs=1e-9)


@pytest.mark.parametrize("loss", [LNCC(window=7, weight=1.0), LNCCSigned(window=7, weight=1.0)])
def test_float32_follows_float64_on_a_bright_offset(loss):
    torch.manual_seed(0)
    warped, fixed = 40.0 + torch.rand(2, 1, 1, 24, 24, 24, dtype=torch.float64)
    assert loss(warped.float(), fixed.float()).item() == pytest.approx(loss(warped, fixed).item(), abs=2e-5)


def test_ignores_local_brightness_and_contrast():
    torch.manual_seed(0)
    image = torch.rand(1, 1, 40, 40, dtype=torch.float64)
    shaded = image * torch.tensor([1.0, 3.0]).repeat_interleave(20)[:, None] + 0.5
    loss = LNCC(window=3, weight=1.0, eps=1e-12)
    correlated = -loss(shaded, image)
    assert correlated.item() > 0.97  # only windows on the step differ
    assert loss(image * 0.0 + 0.3, image).item() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("window", [4, 1, -3])
def test_refuses_windows_without_a_centre(window):
    with pytest.raises(ConfigError, match="odd"):
        LNCC(window=window, weight=1.0)


def test_refuses_unknown_border():
    with pytest.raises(ConfigError, match="inside or zeros"):
        LNCC(window=5, weight=1.0, border="mirror")
