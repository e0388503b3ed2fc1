"""midir: a network that predicts cubic B-spline control points of a displacement or a velocity."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medreg.errors import CompositionError
from medreg.geometry.ffd import FreeForm, FreeFormVelocity
from medreg.geometry.precision import at_least_single
from medreg.inference.registration import Registration, check_pair
from medreg.models.base import RegistrationModel
from medreg.models.blocks.conv import channels_last, convolution_relu, crop, last_convolution
from medreg.models.blocks.unet import Decoder, Encoder, pad_to_multiple


def decoder_levels(stride: int, *, depth: int) -> int:
    """Doublings until features are about as fine as the control grid: depth − ⌈log2 δ⌉, at least 0."""
    return max(0, depth - math.ceil(math.log2(stride)))


class ControlPointNetwork(nn.Module):
    """Encoder, a shortened decoder, resizing to the control grid, convolutions there (midir's `bspline_net`).

    Source: midir model/network.py. With encoder 16-32-32-32-32, decoder 32 and resize channels (32, 16):
    83 778 parameters in 2-D and 251 251 in 3-D at δ = 4.

    Args:
        ndim: spatial dimensions.
        encoder: channels of the encoder, finest first.
        decoder: channels of the longest decoder, coarsest first; the stride decides how many are used.
        resize_channels: channels of the convolutions on the control grid.
        stride: smallest control-point spacing δ, voxels.
        inputs: input channels.
        last_layer_scale: factor of the initial weights of the last convolution; 1 = authors.
    """

    def __init__(
        self,
        ndim: int,
        encoder: Sequence[int],
        *,
        decoder: Sequence[int],
        resize_channels: Sequence[int],
        stride: int,
        inputs: int,
        last_layer_scale: float,
    ) -> None:
        super().__init__()
        depth = len(encoder) - 1
        levels = min(decoder_levels(stride, depth=depth), len(decoder))
        self.multiple = 2**depth
        self.reduction = 2 ** (depth - levels)
        self.encoder = Encoder(ndim, inputs, channels=encoder)
        self.decoder = Decoder(ndim, encoder, channels=decoder[:levels])
        sizes = [self.decoder.outputs, *resize_channels]
        self.resize = nn.Sequential(*(convolution_relu(ndim, a, b) for a, b in pairwise(sizes)))
        self.last = last_convolution(ndim, sizes[-1], ndim, scale=last_layer_scale)

    def forward(self, image: Tensor, grid: Sequence[int]) -> Tensor:
        """Map (B, inputs, *S) to control-point values (B, D, *grid)."""
        features = self.decoder(self.encoder(channels_last(pad_to_multiple(image, self.multiple))))
        features = crop(features, [math.ceil(size / self.reduction) for size in image.shape[2:]])
        mode = "bilinear" if image.ndim == 4 else "trilinear"
        resized = F.interpolate(features, size=tuple(grid), mode=mode, align_corners=False)
        return self.last(self.resize(resized)).contiguous()


class Midir(RegistrationModel):
    """Amortised B-spline registration: control points c = network([fixed, moving]), v(x) = Σ_p c_p β³(x − p).

    With `FreeFormVelocity` the displacement is exp(v) by scaling and squaring and a regulariser sees v; with
    `FreeForm` it is v itself.

    Source: Qiu et al., "Learning Diffeomorphic and Modality-invariant Registration using B-splines", MIDL
        2021.

    Args:
        ndim: spatial dimensions, 2 or 3.
        transformation: free-form deformation; its stride decides the network's resolution.
        encoder: channels of the encoder, finest first.
        decoder: channels of the longest decoder, coarsest first.
        resize_channels: channels of the convolutions on the control grid.
        last_layer_scale: factor of the initial weights of the last convolution; 1 = authors.
        channels: channels of one image.

    Raises:
        CompositionError: a transformation without control points.
    """

    def __init__(
        self,
        ndim: int,
        transformation: FreeForm | FreeFormVelocity,
        *,
        encoder: Sequence[int],
        decoder: Sequence[int],
        resize_channels: Sequence[int],
        last_layer_scale: float,
        channels: int = 1,
    ) -> None:
        super().__init__()
        if not isinstance(transformation, FreeForm):
            raise CompositionError(
                f"midir predicts B-spline control points, not {type(transformation).__name__}; "
                "set transformation=svffd or transformation=ffd."
            )
        self.ndim = ndim
        self.transformation = transformation
        stride = transformation.stride
        self.network = ControlPointNetwork(
            ndim,
            encoder,
            decoder=decoder,
            resize_channels=resize_channels,
            stride=stride if isinstance(stride, int) else min(stride),
            inputs=2 * channels,
            last_layer_scale=last_layer_scale,
        )

    def forward(
        self,
        fixed: Tensor,
        moving: Tensor,
        *,
        spacing_mm: Tensor | None = None,
        fixed_mask: Tensor | None = None,
        moving_mask: Tensor | None = None,
    ) -> Registration:
        """Predict the deformation; spacing and masks are not seen by the network."""
        shape = check_pair(fixed, moving, ndim=self.ndim)
        grid = self.transformation.parameter_shape(shape)[1:]
        theta = self.network(torch.cat((fixed, moving), dim=1), grid)
        theta = at_least_single(theta)
        deformation = self.transformation(theta, shape)
        return Registration(deformation.displacement, deformation.regularised, theta)
