"""A convolution with zeros for missing channels is the same convolution."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from medreg.models.blocks.conv import PaddedConv3d


@pytest.mark.parametrize("channels", [1, 3, 4, 5, 15, 16])
def test_values_and_gradients_are_those_of_torch(channels):
    torch.manual_seed(channels)
    ours = PaddedConv3d(channels, 6, 3, padding=1)
    reference = nn.Conv3d(channels, 6, 3, padding=1).double()
    reference.load_state_dict(ours.state_dict())
    image = torch.randn(1, channels, 6, 7, 8, requires_grad=True)
    exact = image.detach().double().requires_grad_()
    weights = torch.randn(1, 6, 6, 7, 8)
    (ours(image) * weights).sum().backward()
    (reference(exact) * weights).sum().backward()
    torch.testing.assert_close(image.grad, exact.grad.float(), rtol=1e-4, atol=1e-4)
    for mine, other in zip(ours.parameters(), reference.parameters(), strict=True):
        assert mine.grad.shape == other.grad.shape
        torch.testing.assert_close(mine.grad, other.grad.float(), rtol=1e-4, atol=1e-3)


def test_state_is_that_of_a_plain_convolution():
    assert PaddedConv3d(5, 6, 3).state_dict().keys() == nn.Conv3d(5, 6, 3).state_dict().keys()
