"""The U-Net of VR-Net: strided convolutions down, transposed convolutions up."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from medreg.errors import require_choice
from medreg.models.blocks.conv import CONVOLUTIONS, TRANSPOSED, FewOutputsConv3d, channels_last

_LAST: dict[int, type[nn.Conv2d] | type[nn.Conv3d]] = {2: nn.Conv2d, 3: FewOutputsConv3d}
Initialisation = Literal["he", "torch"]
HALVINGS = 4
# Channels in multiples of those of the finest level: in and out of the two convolutions of a level of the
# decoder, coarsest first; the first concatenates the upsampled features with those of the encoder.
DECODER = ((8, 8, 4), (4, 4, 2), (2, 4, 2), (2, 2, 2))


def _convolution(ndim: int, inputs: int, outputs: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        CONVOLUTIONS[ndim](inputs, outputs, 3, stride=stride, padding=1), nn.ReLU(inplace=True)
    )


def he_initialise(network: nn.Module) -> None:
    """Give every convolution that a ReLU follows weights of variance 2/n, n the values summed; biases are zeroed.

    A transposed convolution of kernel 2 and stride 2 sums its input channels only. torch's default has a sixth
    of this variance (a 48th after halvings), and the signal fades from layer to layer.
    Source: He et al., Delving Deep into Rectifiers, ICCV 2015.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d):
            transposed = isinstance(layer, nn.ConvTranspose2d | nn.ConvTranspose3d)
            summed = layer.in_channels if transposed else layer.weight[0].numel()
            nn.init.normal_(layer.weight, std=math.sqrt(2 / summed))
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)


class StridedUNet(nn.Module):
    """U-Net with four halvings, ReLU, no normalisation, a linear 5^D last convolution without bias.

    With c channels at the finest level the encoder has c, 2c, 4c, 8c and 16c → 8c. For c = 8 and three inputs
    it has 1 118 664 parameters in 3-D. Source: VR-Net, released L1Models.py and L2Models.py.

    Args:
        ndim: spatial dimensions, 2 or 3.
        inputs: input channels.
        start_channels: c.
        initialisation: "he" (see `he_initialise`; ours) or "torch" (release) of all but the last convolution.
        last_layer_scale: factor of the last convolution's initial weights; 1 = release.
        outputs: output channels; None means `ndim`.

    Raises:
        ConfigError: another initialisation.
    """

    multiple = 2**HALVINGS

    def __init__(
        self,
        ndim: int,
        inputs: int,
        *,
        start_channels: int,
        initialisation: Initialisation,
        last_layer_scale: float,
        outputs: int | None = None,
    ) -> None:
        super().__init__()
        require_choice("model.initialisation", initialisation, ("he", "torch"))
        c = start_channels
        self.entry = nn.Sequential(_convolution(ndim, inputs, c), _convolution(ndim, c, c))
        self.down = nn.ModuleList()
        for level in range(HALVINGS):
            wide = 2 ** (level + 1) * c
            narrow = wide if level < HALVINGS - 1 else wide // 2
            self.down.append(
                nn.Sequential(_convolution(ndim, wide // 2, wide, stride=2), _convolution(ndim, wide, narrow))
            )
        self.up, self.merge = nn.ModuleList(), nn.ModuleList()
        width = 8 * c
        for level, (up, middle, out) in enumerate(DECODER):
            skip = 2 ** (HALVINGS - 1 - level) * c
            transposed = TRANSPOSED[ndim](width, up * c, 2, stride=2)
            self.up.append(nn.Sequential(transposed, nn.ReLU(inplace=True)))
            self.merge.append(
                nn.Sequential(
                    _convolution(ndim, up * c + skip, middle * c), _convolution(ndim, middle * c, out * c)
                )
            )
            width = out * c
        if initialisation == "he":
            he_initialise(self)
        self.last = _LAST[ndim](width, outputs or ndim, 5, padding=2, bias=False)
        self.last.weight.data.mul_(last_layer_scale)

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, inputs, *S) to (B, outputs, *S); every size of S must divide by `multiple`."""
        features = [self.entry(channels_last(image))]
        for down in self.down:
            features.append(down(features[-1]))
        answer = features.pop()
        for up, merge in zip(self.up, self.merge, strict=True):
            answer = merge(torch.cat((up(answer), features.pop()), dim=1))
        return self.last(answer).contiguous()
