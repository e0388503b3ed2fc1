"""The U-Net of VoxelMorph's own code, which halves the grid by the largest value of every cell."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from medreg.models.blocks.conv import CONVOLUTIONS, NEGATIVE_SLOPE, channels_last, crop, nearest_upsample
from medreg.models.blocks.unet import pad_to_multiple

POOLS: dict[int, type[nn.MaxPool2d] | type[nn.MaxPool3d]] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}


class PooledUNet(nn.Module):
    """Features at full resolution from a pair of images.

    Encoder: at every level a convolution, then pooling by 2. Decoder: from the coarsest grid on a convolution,
    doubling of the grid by repetition and concatenation with the encoder's features of that level. The convolutions
    of `decoder` beyond one a level follow at full resolution. Kernels 3^D, LeakyReLU(0.2), weights He-normal, biases
    0, no normalisation. Any image size: padded inside with border values, cut outside.

    Source: VoxelMorph, tf/networks.py, `Unet`.

    Args:
        ndim: spatial dimensions, 2 or 3.
        inputs: input channels.
        encoder: channels of the encoder, finest level first.
        decoder: channels of the decoder, coarsest first, one a level of the encoder or more.

    Attributes:
        outputs: number of features.
    """

    def __init__(self, ndim: int, inputs: int, *, encoder: Sequence[int], decoder: Sequence[int]) -> None:
        super().__init__()
        if len(decoder) < len(encoder) or not encoder:
            raise ValueError(
                f"decoder needs a number of channels for each of the {len(encoder)} levels, got {len(decoder)}"
            )
        self.multiple = 2 ** len(encoder)
        self.pool = POOLS[ndim](2)
        self.encoder = nn.ModuleList(_layer(ndim, a, b) for a, b in pairwise([inputs, *encoder]))
        width, layers = encoder[-1], []
        for outputs, skip in zip(decoder, reversed(encoder), strict=False):
            layers.append(_layer(ndim, width, outputs))
            width = outputs + skip
        self.decoder = nn.ModuleList(layers)
        self.out = nn.Sequential(
            *(_layer(ndim, a, b) for a, b in pairwise([width, *decoder[len(encoder) :]]))
        )
        self.outputs = decoder[-1] if len(decoder) > len(encoder) else width

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, inputs, *S) to (B, outputs, *S)."""
        features, last = [], channels_last(pad_to_multiple(image, self.multiple))
        for layer in self.encoder:
            features.append(layer(last))
            last = self.pool(features[-1])
        for layer in self.decoder:
            skip = features.pop()
            last = torch.cat((nearest_upsample(layer(last), tuple(skip.shape[2:])), skip), dim=1)
        return crop(self.out(last), image.shape[2:]).contiguous()


def _layer(ndim: int, inputs: int, outputs: int) -> nn.Sequential:
    """A convolution as Keras starts it, and a LeakyReLU."""
    layer = CONVOLUTIONS[ndim](inputs, outputs, kernel_size=3, padding=1)
    nn.init.kaiming_normal_(layer.weight)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return nn.Sequential(layer, nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True))
