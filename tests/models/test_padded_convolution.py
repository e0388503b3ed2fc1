"""A convolution with channels of zeros is the same convolution, by the faster of torch's two."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from medreg.models.blocks.conv import ONEDNN_LEAST, FewOutputsConv3d, PaddedConv3d, missing_channels


@pytest.mark.parametrize("shape", [(5, 56, 60, 3), (3, 33, 40, 4), (16, 6, 7, 8), (1, 4, 5, 6)])
def test_values_and_gradients_are_those_of_torch(shape):
    torch.manual_seed(shape[0])
    ours = PaddedConv3d(shape[0], 6, 3, padding=1)
    reference = nn.Conv3d(shape[0], 6, 3, padding=1).double()
    reference.load_state_dict(ours.state_dict())
    image = torch.randn(1, *shape, requires_grad=True)
    exact = image.detach().double().requires_grad_()
    weights = torch.randn(1, 6, *shape[1:])
    (ours(image) * weights).sum().backward()
    (reference(exact) * weights).sum().backward()
    torch.testing.assert_close(image.grad, exact.grad.float(), rtol=1e-4, atol=1e-4)
    for mine, other in zip(ours.parameters(), reference.parameters(), strict=True):
        assert mine.grad.shape == other.grad.shape
        torch.testing.assert_close(mine.grad, other.grad.float(), rtol=1e-4, atol=1e-3)


def backend(channels, depth, height):
    """Which of its convolutions torch would take."""
    volume, weight = torch.empty(1, channels, depth, height, 4), torch.empty(2, channels, 3, 3, 3)
    ones, zeros = (1, 1, 1), (0, 0, 0)
    choice = torch._C._select_conv_backend(volume, weight, None, ones, ones, ones, False, zeros, 1)
    return str(choice).rsplit(".", 1)[-1]


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch was built without oneDNN")
@pytest.mark.parametrize(("channels", "side"), [(5, 64), (32, 24), (64, 12), (8, 24), (2, 96)])
def test_the_zeros_reach_the_fast_kernels_and_no_fewer_would(channels, side):
    missing = missing_channels(torch.empty(1, channels, side, side, 4))
    assert missing > 0
    assert backend(channels + missing, side, side) == "Mkldnn"
    assert backend(channels + missing - 1, side, side) == "Slow3d"


def test_no_zeros_where_they_would_not_pay():
    assert missing_channels(torch.empty(2, 5, 64, 64, 4)) == 0
    assert missing_channels(torch.empty(1, 5, 64, 64, 4, dtype=torch.float64)) == 0
    assert missing_channels(torch.empty(1, ONEDNN_LEAST + 1, 1, 1, 4)) == 0
    assert missing_channels(torch.empty(1, 2, 16, 16, 4)) == 0


@pytest.mark.parametrize("bias", [True, False])
def test_planes_as_channels_are_the_same_convolution(bias):
    torch.manual_seed(1)
    ours = FewOutputsConv3d(4, 3, 5, padding=2, bias=bias).double()
    plain = nn.Conv3d(4, 3, 5, padding=2, bias=bias).double()
    plain.load_state_dict(ours.state_dict())
    image = torch.randn(2, 4, 6, 3, 8, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(2, 3, 6, 3, 8, dtype=torch.float64)
    found = [
        torch.autograd.grad((layer(image) * weights).sum(), (image, *layer.parameters()))
        for layer in (ours, plain)
    ]
    torch.testing.assert_close(ours(image), plain(image))
    for mine, other in zip(*found, strict=True):
        torch.testing.assert_close(mine, other)


def test_state_is_that_of_a_plain_convolution():
    assert PaddedConv3d(5, 6, 3).state_dict().keys() == nn.Conv3d(5, 6, 3).state_dict().keys()
