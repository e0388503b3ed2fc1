"""The U-Net of VoxelMorph: a pair of images in, one value per channel and voxel out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medreg.models.blocks.conv import (
    channels_last,
    convolution_relu,
    crop,
    last_convolution,
    nearest_upsample,
)


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """Pad (B, C, *S) at the end of every axis by its border values until each size divides by `multiple`."""
    missing = [-size % multiple for size in image.shape[2:]]
    if not any(missing):
        return image
    return F.pad(image, [n for amount in reversed(missing) for n in (0, amount)], mode="replicate")


class Encoder(nn.Module):
    """Convolutions that halve the grid from the second on; returns the features of every level.

    Args:
        ndim: spatial dimensions.
        inputs: input channels.
        channels: output channels of each convolution, finest level first.
        dropout: probability of dropout after every convolution.
    """

    def __init__(self, ndim: int, inputs: int, *, channels: Sequence[int], dropout: float = 0.0) -> None:
        super().__init__()
        sizes = [inputs, *channels]
        self.layers = nn.ModuleList(
            convolution_relu(ndim, sizes[i], sizes[i + 1], stride=1 if i == 0 else 2, dropout=dropout)
            for i in range(len(channels))
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        """Features (B, channels[i], *S / 2^i), finest first; every size of S must divide by 2^(levels−1)."""
        features = []
        for layer in self.layers:
            image = layer(image)
            features.append(image)
        return features


class Decoder(nn.Module):
    """Convolution, doubling of the grid by repetition, concatenation with the encoder's features, repeated.

    Args:
        ndim: spatial dimensions.
        encoder: channels of the encoder, finest first.
        channels: output channels of each convolution, coarsest first; at most len(encoder) − 1 of them.
        dropout: probability of dropout after every convolution.
    """

    def __init__(
        self, ndim: int, encoder: Sequence[int], *, channels: Sequence[int], dropout: float = 0.0
    ) -> None:
        super().__init__()
        if len(channels) >= len(encoder):
            raise ValueError(f"{len(channels)} decoder levels need more than {len(encoder)} encoder levels")
        width = encoder[-1]
        layers = []
        for level, outputs in enumerate(channels):
            layers.append(convolution_relu(ndim, width, outputs, dropout=dropout))
            width = outputs + encoder[-2 - level]
        self.layers = nn.ModuleList(layers)
        self.outputs = width

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Features of the level that the last doubling reaches, `self.outputs` channels."""
        image = features[-1]
        for level, layer in enumerate(self.layers):
            skip = features[-2 - level]
            image = torch.cat((nearest_upsample(layer(image), tuple(skip.shape[2:])), skip), dim=1)
        return image


class UNet(nn.Module):
    """U-Net of VoxelMorph as used by the authors of GraDIRN and midir.

    Encoder convolutions (stride 2 from the second), decoder convolutions each followed by doubling of the
    grid and concatenation, `out` convolutions at full resolution, one linear convolution. Kernels 3^D,
    LeakyReLU(0.2), no normalisation. Any image size: padded inside with border values, cut outside.
    With encoder 16-32-32-32-32, decoder 32-32-32-32, out 16-16 it has 106 866 parameters in 2-D and 320 419
    in 3-D. Source: GraDIRN conf/train/network/vm.yaml, core/networks.py.

    Args:
        ndim: spatial dimensions, 2 or 3.
        encoder: channels of the encoder, finest level first.
        decoder: channels of the decoder, coarsest level first; one fewer than the encoder.
        out: channels of the convolutions at full resolution; may be empty.
        inputs: input channels; 2 for a pair of single-channel images.
        outputs: output channels; None means `ndim`.
        last_layer_scale: factor of the initial weights of the last convolution; 1 = authors.
        dropout: probability of dropout after every convolution but the last; 0 = none.
    """

    def __init__(
        self,
        ndim: int,
        encoder: Sequence[int],
        *,
        decoder: Sequence[int],
        out: Sequence[int],
        last_layer_scale: float,
        inputs: int = 2,
        outputs: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if len(decoder) != len(encoder) - 1:
            raise ValueError(f"decoder needs {len(encoder) - 1} levels for {len(encoder)} of the encoder")
        self.multiple = 2 ** len(decoder)
        self.encoder = Encoder(ndim, inputs, channels=encoder, dropout=dropout)
        self.decoder = Decoder(ndim, encoder, channels=decoder, dropout=dropout)
        sizes = [self.decoder.outputs, *out]
        self.out = nn.Sequential(*(convolution_relu(ndim, a, b, dropout=dropout) for a, b in pairwise(sizes)))
        self.last = last_convolution(ndim, sizes[-1], outputs or ndim, scale=last_layer_scale)

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, inputs, *S) to (B, outputs, *S)."""
        padded = channels_last(pad_to_multiple(image, self.multiple))
        answer = self.last(self.out(self.decoder(self.encoder(padded))))
        return crop(answer, image.shape[2:]).contiguous()
