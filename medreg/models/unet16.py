"""A small U-Net for segmentation with bilinear upsampling (UNet_16 of the released AdvChain experiments)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from medreg.errors import ConfigError
from medreg.models.blocks.conv import CONVOLUTIONS, channels_last

ENCODER = (1, 2, 4, 8, 8)  # channels of the levels, finest first, in units of the width
DECODER = (4, 2, 1, 1)  # channels after each doubling of the grid, coarsest first
_NORMS: Mapping[str, Mapping[int, type[nn.Module]]] = {
    "batch": {2: nn.BatchNorm2d, 3: nn.BatchNorm3d},
    "instance": {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d},
}
_POOLING = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
_DROPOUT = {2: nn.Dropout2d, 3: nn.Dropout3d}
_LINEAR = {2: "bilinear", 3: "trilinear"}


class UNet16(nn.Module):
    """Images (B, C, *S) to scores of the classes (B, K, *S); every axis of S is a multiple of 16.

    Encoder of 16-32-64-128-128 channels, halved by max pooling; decoder of 64-32-16-16, doubled by linear
    interpolation; two 3^D convolutions with bias, normalisation and ReLU a level; a last 1^D convolution. With one
    channel in and four classes 839 540 parameters in 2-D. Convolutions start as Kaiming et al. (fan-in, normal), their
    biases at 0. Source: cherise215/advchain and the group's experiments, UNet_16.

    Args:
        ndim: spatial dimensions, 2 or 3.
        in_channels: C.
        out_channels: K, structures and background.
        width: channels of the finest level; 16 gives the numbers above.
        norm: "batch", or "instance" (with scale and shift), which batches of one need.
        dropout: probability with which a channel of a level is left out in training; 0: no such layer.

    Raises:
        ConfigError: an unknown normalisation, or no channel.
    """

    def __init__(
        self,
        *,
        ndim: int,
        in_channels: int,
        out_channels: int,
        width: int,
        norm: Literal["batch", "instance"],
        dropout: float,
    ) -> None:
        super().__init__()
        if norm not in _NORMS:
            raise ConfigError(f"model.norm is {norm!r}; choose batch or instance.")
        if width < 1:
            raise ConfigError(f"model.width is {width}; a network needs one channel or more.")
        self.ndim = ndim
        channels = [width * share for share in ENCODER]
        inputs = [in_channels, *channels[:-1]]
        self.encoder = nn.ModuleList(
            _level(ndim, before, after, norm, dropout) for before, after in zip(inputs, channels, strict=True)
        )
        self.pool = _POOLING[ndim](2)
        below, levels = channels[-1], []
        for skip, share in zip(reversed(channels[:-1]), DECODER, strict=True):
            levels.append(_level(ndim, below + skip, width * share, norm, dropout))
            below = width * share
        self.decoder = nn.ModuleList(levels)
        self.last = CONVOLUTIONS[ndim](below, out_channels, kernel_size=1)
        _start(self)

    def forward(self, image: Tensor) -> Tensor:
        """Return scores (B, K, *S) of images (B, C, *S)."""
        first = self.encoder[0](image)
        skips = [
            channels_last(first) if self.ndim == 2 else first
        ]  # a quarter of the time on CPU; 3-D gains nothing
        for level in list(self.encoder)[1:]:
            skips.append(level(self.pool(skips[-1])))
        found = skips.pop()
        for level in self.decoder:
            doubled = nn.functional.interpolate(
                found, scale_factor=2, mode=_LINEAR[self.ndim], align_corners=True
            )
            found = level(torch.cat((skips.pop(), doubled), dim=1))
        scores: Tensor = self.last(found)
        return scores


def _level(ndim: int, before: int, after: int, norm: str, dropout: float) -> nn.Sequential:
    """Two convolutions, each with normalisation and ReLU."""
    layers: list[nn.Module] = []
    for inputs in (before, after):
        kind = _NORMS[norm][ndim]
        layers += [
            CONVOLUTIONS[ndim](inputs, after, kernel_size=3, padding=1),
            kind(after, affine=True),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers, *([_DROPOUT[ndim](dropout)] if dropout else []))


def _convolutions(network: nn.Module) -> Iterator[nn.Conv2d | nn.Conv3d]:
    return (part for part in network.modules() if isinstance(part, nn.Conv2d | nn.Conv3d))


def _start(network: nn.Module) -> None:
    for layer in _convolutions(network):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
