"""VoxelMorph: a U-Net predicts the parameters of a transformation from the pair of images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medreg.geometry.precision import at_least_single
from medreg.geometry.transformation import Transformation
from medreg.inference.registration import Registration, check_pair
from medreg.models.base import RegistrationModel
from medreg.models.blocks.unet import UNet


class VoxelMorph(RegistrationModel):
    """Amortised registration: θ = restrict(UNet([fixed, moving])), u = T(θ).

    With a dense transformation this is the baseline of the GraDIRN release, with a stationary velocity field
    the dense network of midir. A transformation on a control grid receives the network's dense field by
    restriction to its parameters.

    Source: Balakrishnan et al., IEEE TMI 2019 (architecture as released with GraDIRN: 106 866 parameters in
    2-D, 320 419 in 3-D).

    Args:
        ndim: spatial dimensions, 2 or 3.
        transformation: map from parameters to displacement.
        encoder: channels of the encoder, finest first.
        decoder: channels of the decoder, coarsest first.
        out: channels of the convolutions at full resolution.
        last_layer_scale: factor of the initial weights of the last convolution; 1 = authors.
        channels: channels of one image.
    """

    def __init__(
        self,
        ndim: int,
        transformation: Transformation,
        *,
        encoder: Sequence[int],
        decoder: Sequence[int],
        out: Sequence[int],
        last_layer_scale: float,
        channels: int = 1,
    ) -> None:
        super().__init__()
        self.ndim = ndim
        self.transformation = transformation
        self.network = UNet(
            ndim, encoder, decoder=decoder, out=out, inputs=2 * channels, last_layer_scale=last_layer_scale
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
        field = self.network(torch.cat((fixed, moving), dim=1))
        theta = self.transformation.restrict(at_least_single(field), shape)
        deformation = self.transformation(theta, shape)
        return Registration(deformation.displacement, deformation.regularised, theta)
