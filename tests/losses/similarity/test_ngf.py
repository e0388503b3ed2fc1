"""Normalised gradient fields of stripes."""

from __future__ import annotations

import pytest
import torch

from medreg.errors import ConfigError
from medreg.losses.similarity.ngf import NGF, interior_gradient


def stripes(axis):
    wave = torch.sin(torch.linspace(0, 20, 32, dtype=torch.float64))
    return (wave[:, None].expand(32, 32) if axis == 0 else wave[None].expand(32, 32))[None, None]


def test_gradient_of_a_linear_image():
    ramp = torch.arange(6.0)[:, None] * 2 + torch.arange(5.0)[None] * 3
    gradient = interior_gradient(ramp[None, None])
    torch.testing.assert_close(gradient[0, 0, 0, 1:-1], torch.full((4, 5), 2.0))
    torch.testing.assert_close(gradient[0, 0, 1, :, 1:-1], torch.full((6, 3), 3.0))
    assert gradient[0, 0, 0, 0].abs().max() == 0.0


def test_parallel_edges_are_free_and_crossing_edges_cost_one():
    loss = NGF(eta=1e-6, weight=1.0)
    inner = torch.zeros(1, 1, 32, 32)
    inner[..., 1:-1, 1:-1] = 1
    assert (
        loss(stripes(0), stripes(0), mask=inner).item() < 0.08
    )  # rows next to the mask's edge have no gradient
    assert loss(stripes(0), -3 * stripes(0) + 1, mask=inner).item() < 0.08
    assert loss(stripes(0), stripes(1), mask=inner).item() == pytest.approx(1.0)


def test_refuses_zero_edge_strength():
    with pytest.raises(ConfigError, match="eta"):
        NGF(eta=0.0, weight=1.0)
