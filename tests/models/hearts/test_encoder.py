"""The encoder: what is told in every voxel without ever being spread to it, and the distribution of the code."""

from __future__ import annotations

import pytest
import torch
from beating_hearts import SIZE, heart_batch
from torch import nn

from medreg.errors import ConfigError
from medreg.models.hearts.encoder import FrameEncoder, ToldConvolution, one_hot


@pytest.mark.parametrize("size", [(8, 6, 10), (2, 4, 6), (4, 2, 2), (16, 16, 8)])
def test_told_convolution_is_that_of_the_broadcast(size):
    torch.manual_seed(sum(size))
    layer = ToldConvolution(4, 3, 5)
    image, told = torch.randn(2, 4, *size, requires_grad=True), torch.randn(2, 3, requires_grad=True)
    spread = torch.cat([image, told[:, :, None, None, None].expand(-1, -1, *size)], 1)
    plain = nn.functional.conv3d(spread, layer.weight, layer.bias, stride=2, padding=1)
    found = layer(image, told)
    torch.testing.assert_close(found, plain, rtol=1e-5, atol=1e-5)
    weights = torch.randn_like(found)
    ours = torch.autograd.grad((found * weights).sum(), [image, told, *layer.parameters()])
    theirs = torch.autograd.grad((plain * weights).sum(), [image, told, *layer.parameters()])
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_nothing_told_is_a_plain_convolution():
    layer, image = ToldConvolution(4, 0, 5), torch.randn(1, 4, 8, 8, 8)
    plain = nn.functional.conv3d(image, layer.weight, layer.bias, stride=2, padding=1)
    torch.testing.assert_close(layer(image, torch.zeros(1, 0)), plain)


def test_one_hot_has_its_channels_innermost():
    shape = heart_batch(2)["shape"][:, 0]
    found = one_hot(shape, 4)
    torch.testing.assert_close(found, nn.functional.one_hot(shape.long(), 4).movedim(-1, 1).float())
    assert found.is_contiguous(memory_format=torch.channels_last_3d)


def plain_encoding(encoder, first, told):
    """The same network written as the release has it: conditions broadcast to all voxels."""
    image = nn.functional.one_hot(first.long(), 4).movedim(-1, 1).float()
    image = torch.cat([image, told[:, :, None, None, None].expand(-1, -1, *first.shape[1:])], 1)
    for place, norm in enumerate(encoder.norms):
        layer = encoder.others[place - 1] if place else encoder.first
        image = norm(nn.functional.conv3d(image, layer.weight, layer.bias, stride=2, padding=1))
        image = (
            nn.functional.relu(image) if norm is encoder.norms[-1] else nn.functional.leaky_relu(image, 0.2)
        )
    return encoder.mean(image.flatten(1)), encoder.log_variance(image.flatten(1))


def test_it_is_the_released_network():
    torch.manual_seed(1)
    encoder = FrameEncoder(classes=4, told=5, size=SIZE, n_down=3, filters=4, latent=6, norm="batch")
    first, told = heart_batch(3)["shape"][:, 0], torch.randn(3, 5)
    for found, plain in zip(encoder(first, told), plain_encoding(encoder, first, told), strict=True):
        assert found.shape == (3, 6)
        torch.testing.assert_close(found, plain, rtol=1e-4, atol=1e-5)


def test_grid_that_cannot_be_halved_is_refused():
    with pytest.raises(ConfigError, match=r"model\.n_down=4"):
        FrameEncoder(classes=4, told=0, size=(16, 16, 8), n_down=4, filters=4, latent=6, norm="batch")


def test_unknown_normalisation_is_refused():
    with pytest.raises(ConfigError, match=r"model\.norm"):
        FrameEncoder(classes=4, told=0, size=SIZE, n_down=3, filters=4, latent=6, norm="layer")
