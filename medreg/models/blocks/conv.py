"""Convolutions of the registration networks, 2-D and 3-D in one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

NEGATIVE_SLOPE = 0.2  # of every LeakyReLU of VoxelMorph, midir and GraDIRN
# torch gives a convolution of one volume to oneDNN only where channels × depth × height exceed this (ATen,
# use_mkldnn; 3-D kernels of at most 3); below it a loop runs that is up to thirteen times slower.
ONEDNN_LEAST = 20480
_MOST = 8  # times the channels, beyond which the zeros cost more than they gain


class PaddedConv3d(nn.Conv3d):
    """A 3-D convolution that is given channels of zeros where that is faster; equal but for rounding.

    One volume of 32 × 24³ falls 10 % short of what torch asks for before it uses the fast kernels on CPU: with
    four channels of zeros the step through a convolution takes a ninth of the time.
    """

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        missing = missing_channels(input) if max(self.kernel_size) <= 3 else 0
        if missing:
            zeros = (0, 0, 0, 0, 0, 0, 0, missing)
            input, weight = nn.functional.pad(input, zeros), nn.functional.pad(weight, zeros)
        return super()._conv_forward(input, weight, bias)


class FewOutputsConv3d(nn.Conv3d):
    """A k³ convolution to few channels, stride 1: the k planes of the kernel as channels, shifted and added after.

    The fast kernels on CPU fill vectors with output channels. Three of them leave most empty; with k = 5 the
    planes make fifteen, in half the time. Equal but for rounding; elsewhere it is a plain convolution.
    """

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if input.device.type != "cpu":
            return super()._conv_forward(input, weight, bias)
        outputs, inputs, planes = weight.shape[:3]
        flat = weight.permute(2, 0, 1, 3, 4).reshape(planes * outputs, inputs, 1, *weight.shape[3:])
        margin = self.kernel_size[0] // 2
        each = nn.functional.conv3d(input, flat, padding=(0, margin, margin))
        each = nn.functional.pad(each, (0, 0, 0, 0, margin, margin))
        depth, parts = input.shape[2], each.split(outputs, dim=1)
        answer = torch.stack([part.narrow(2, plane, depth) for plane, part in enumerate(parts)]).sum(0)
        return answer if bias is None else answer + bias.view(-1, 1, 1, 1)


def missing_channels(volume: Tensor) -> int:
    """Number of zero channels that make torch convolve the volume (B, C, D, H, W) by oneDNN; 0 if none help."""
    plain = volume.device.type != "cpu" or volume.dtype != torch.float32 or torch.is_autocast_enabled("cpu")
    if plain or volume.shape[0] > 1:
        return 0
    channels, depth, height = volume.shape[1:4]
    wanted = ONEDNN_LEAST // (depth * height) + 1
    return max(wanted - channels, 0) if wanted <= _MOST * channels else 0


CONVOLUTIONS: dict[int, type[nn.Conv2d] | type[nn.Conv3d]] = {2: nn.Conv2d, 3: PaddedConv3d}
TRANSPOSED: dict[int, type[nn.ConvTranspose2d] | type[nn.ConvTranspose3d]] = {
    2: nn.ConvTranspose2d,
    3: nn.ConvTranspose3d,
}


def convolution(
    ndim: int, inputs: int, outputs: int, *, stride: int = 1, followed_by_relu: bool = True
) -> nn.Module:
    """One 3^D convolution with zero padding 1, initialised for what follows it.

    Weights are Kaiming-uniform (fan-in) with the gain of a LeakyReLU(0.2) after hidden layers and √2 (a = 0)
    for a last layer; biases keep torch's default. Source: GraDIRN core/utils.py, midir model/network.py.

    Args:
        ndim: spatial dimensions, 2 or 3.
        inputs: input channels.
        outputs: output channels.
        stride: 1, or 2 to halve the grid.
        followed_by_relu: False for the last layer of a network.
    """
    layer = CONVOLUTIONS[ndim](inputs, outputs, kernel_size=3, stride=stride, padding=1)
    nn.init.kaiming_uniform_(
        layer.weight, a=NEGATIVE_SLOPE if followed_by_relu else 0.0, nonlinearity="leaky_relu"
    )
    return layer


def convolution_relu(
    ndim: int, inputs: int, outputs: int, *, stride: int = 1, dropout: float = 0.0
) -> nn.Sequential:
    """A convolution and a LeakyReLU(0.2), and dropout of single values where it is asked for.

    The activation works in place: the convolution does not need its output for the backward pass.
    """
    layers = [convolution(ndim, inputs, outputs, stride=stride), nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True)]
    return nn.Sequential(*layers, *([nn.Dropout(dropout)] if dropout else []))


def last_convolution(ndim: int, inputs: int, outputs: int, *, scale: float) -> nn.Module:
    """The linear last layer; weights and biases are multiplied by `scale` at initialisation.

    With `scale` 1 an untrained network answers with displacements of tens of voxels; 1e-3 starts training
    near the identity.
    """
    layer = convolution(ndim, inputs, outputs, followed_by_relu=False)
    for parameter in layer.parameters():
        parameter.data.mul_(scale)
    return layer


def nearest_upsample(image: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Double every axis by repetition and cut to `shape` (nearest interpolation by 2)."""
    doubled = nn.functional.interpolate(image, scale_factor=2.0, mode="nearest")
    return crop(doubled, shape)


def crop(image: Tensor, shape: Sequence[int]) -> Tensor:
    """The first `shape` voxels of every spatial axis of (B, C, *S)."""
    for axis, size in enumerate(shape):
        image = image.narrow(2 + axis, 0, size)
    return image


def channels_last(image: Tensor) -> Tensor:
    """The same image with channels innermost in memory on CPU, unchanged elsewhere.

    Convolutions of 32 channels are 1.4 to 1.6 times faster forward and backward on CPU in this layout.
    """
    if image.device.type != "cpu":
        return image
    layout = torch.channels_last if image.ndim == 4 else torch.channels_last_3d
    return image.contiguous(memory_format=layout)
