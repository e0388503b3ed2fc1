"""VoxelMorph: a U-Net predicts the parameters of a transformation from the pair of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from medreg.errors import ConfigError
from medreg.geometry.precision import at_least_single
from medreg.geometry.transformation import Transformation
from medreg.inference.registration import Registration, check_pair
from medreg.inference.sampling.draw import Listener
from medreg.models.blocks.unet import UNet
from medreg.models.sampling import SamplingModel, dropping, seeded


class VoxelMorph(SamplingModel):
    """Amortised registration: θ = restrict(UNet([fixed, moving])), u = T(θ).

    With a dense transformation this is the baseline of the GraDIRN release, with a stationary velocity field
    the dense network of midir. A transformation on a control grid receives the network's dense field by
    restriction to its parameters.

    With dropout, samples are the answers of so many networks with dropout on (Gal and Ghahramani, ICML 2016); where
    it stands, after every convolution but the last, is ours. The answer itself is given without dropout.

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
        dropout: probability of dropout in training, and in drawing samples; 0 = none.
        samples: K in evaluation; 0 = none.
        seed: of the samples.

    Raises:
        ConfigError: samples without dropout, which would all be the same, or no probability.
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
        dropout: float = 0.0,
        samples: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(samples=samples, seed=seed)
        if not 0 <= dropout < 1:
            raise ConfigError(f"model.dropout is {dropout}; it is a probability below 1.")
        if samples and not dropout:
            raise ConfigError(
                f"model.samples={samples} without dropout would be {samples} times the same answer; set "
                "model.dropout=0.1 in training and in use, or take model=voxelmorph_probabilistic."
            )
        self.ndim = ndim
        self.network_drops = dropout > 0
        self.transformation = transformation
        self.network = UNet(
            ndim,
            encoder,
            decoder=decoder,
            out=out,
            inputs=2 * channels,
            last_layer_scale=last_layer_scale,
            dropout=dropout,
        )

    def forward(
        self,
        fixed: Tensor,
        moving: Tensor,
        *,
        spacing_mm: Tensor | None = None,
        fixed_mask: Tensor | None = None,
        moving_mask: Tensor | None = None,
        draws: int | None = None,
        listeners: Sequence[Listener] = (),
    ) -> Registration:
        """Predict the deformation; spacing and masks are not seen by the network."""
        check_pair(fixed, moving, ndim=self.ndim)
        pair = torch.cat((fixed, moving), dim=1)
        answer = self._predict(pair)
        if self.training or not self.network_drops:
            return answer

        def one(k: int) -> Tensor:
            return self._predict(pair).displacement

        with seeded(self.seed, fixed.device), dropping(self.network):
            return replace(answer, samples=self.draw(one, draws, listeners))

    def _predict(self, pair: Tensor) -> Registration:
        shape = tuple(pair.shape[2:])
        theta = self.transformation.restrict(at_least_single(self.network(pair)), shape)
        deformation = self.transformation(theta, shape)
        return Registration(deformation.displacement, deformation.regularised, theta)
