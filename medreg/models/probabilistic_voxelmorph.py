"""Probabilistic VoxelMorph: a U-Net predicts a normal distribution of velocities, independent in every voxel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import torch
from torch import Tensor, nn

from medreg.errors import ConfigError, require_choice
from medreg.geometry.compose import resize_displacement
from medreg.geometry.precision import at_least_single
from medreg.geometry.svf import exponential
from medreg.inference.registration import Registration, check_pair
from medreg.inference.sampling.draw import Listener
from medreg.losses.divergence import Form, smoothness_divergence
from medreg.models.blocks.conv import CONVOLUTIONS
from medreg.models.blocks.pooled_unet import PooledUNet
from medreg.models.sampling import SamplingModel

_MEAN_STD, _SPREAD_STD = 1e-5, 1e-10  # of the first weights of the two maps; released code
_LOG_VARIANCE = -10.0  # first bias of the log-variance: starts sure of itself; released code


class ProbabilisticVoxelMorph(SamplingModel):
    """q(z | F, M) = N(μ, diag σ²) with μ and ln σ² from one U-Net; u = upsample(exp(half(z))).

    In training z is drawn, z = μ + σ·ε, and the answer carries its divergence from the prior N(0, (λL)⁻¹), see
    `smoothness_divergence`; the loss is (1/σ_I²)·mean (F − M∘φ)² + c·KL with `similarity.weight` = 1/σ_I². In
    evaluation the displacement is that of z = μ, and the samples are those of K draws of z.

    The velocity has the full resolution. It is integrated by scaling and squaring on a grid of half the size, whose
    corners are those of the image, and the displacement brought back. λ and σ count voxels of the full grid.

    Source: Dalca et al., MICCAI 2018 and MedIA 2019; architecture and first weights as released (tf/networks.py).

    Args:
        ndim: spatial dimensions, 2 or 3.
        encoder: channels of the encoder, finest level first.
        decoder: channels of the decoder, coarsest first, those at full resolution last.
        steps: squarings.
        downsize: factor between the grid of the image and that of the integration.
        precision: λ of the prior, 1/voxels².
        divergence: form of the KL, "exact" or "released", see `smoothness_divergence`.
        divergence_weight: c.
        samples: K in evaluation.
        seed: of the samples.
        channels: channels of one image.

    Raises:
        ConfigError: a number that cannot be.
    """

    def __init__(
        self,
        ndim: int,
        *,
        encoder: Sequence[int],
        decoder: Sequence[int],
        steps: int,
        downsize: int,
        precision: float,
        divergence: Form,
        divergence_weight: float,
        samples: int,
        seed: int,
        channels: int = 1,
    ) -> None:
        super().__init__(samples=samples, seed=seed)
        for name, value, least in (("steps", steps, 0), ("downsize", downsize, 1)):
            if value < least:
                raise ConfigError(f"model.{name} is {value}; it must be {least} or more.")
        for name, number in (("precision", precision), ("divergence_weight", divergence_weight)):
            if number < 0:
                raise ConfigError(f"model.{name} is {number}; it must be 0 or more.")
        self.ndim, self.steps, self.downsize = ndim, steps, downsize
        require_choice("model.divergence", divergence, get_args(Form))
        self.precision, self.divergence_weight, self.form = precision, divergence_weight, divergence
        self.network = PooledUNet(ndim, 2 * channels, encoder=encoder, decoder=decoder)
        self.mean = _map(ndim, self.network.outputs, std=_MEAN_STD, bias=0.0)
        self.log_variance = _map(ndim, self.network.outputs, std=_SPREAD_STD, bias=_LOG_VARIANCE)

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
        """Predict the distribution; spacing and masks are not seen by the network."""
        check_pair(fixed, moving, ndim=self.ndim)
        mean, log_variance = self.distribution(fixed, moving)
        deviation = (0.5 * log_variance).exp()
        z = mean + deviation * torch.randn_like(mean) if self.training else mean
        generator = torch.Generator(mean.device).manual_seed(self.seed)

        def one(k: int) -> Tensor:
            noise = torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)
            return self.integrate(mean + deviation * noise)

        divergence = smoothness_divergence(mean, log_variance, precision=self.precision, form=self.form)
        return Registration(
            displacement=self.integrate(z),
            regularised=z,
            parameters=z,
            samples=self.draw(one, draws, listeners),
            divergence=self.divergence_weight * divergence,
        )

    def distribution(self, fixed: Tensor, moving: Tensor) -> tuple[Tensor, Tensor]:
        """Mean μ and log-variance ln σ² of the velocity, (B, D, *S) each, voxels and voxels²."""
        features = self.network(torch.cat((moving, fixed), dim=1))
        return at_least_single(self.mean(features)), at_least_single(self.log_variance(features))

    def integrate(self, velocity: Tensor) -> Tensor:
        """Displacement (B, D, *S) of a velocity (B, D, *S), voxels, by way of the smaller grid."""
        shape = tuple(velocity.shape[2:])
        small = tuple(max(round(size / self.downsize), 1) for size in shape)
        flow = exponential(resize_displacement(velocity, small), steps=self.steps)
        return resize_displacement(flow, shape)


def _map(ndim: int, inputs: int, *, std: float, bias: float) -> nn.Module:
    """A 3^D convolution to one number a component, with its first weights."""
    layer = CONVOLUTIONS[ndim](inputs, ndim, kernel_size=3, padding=1)
    nn.init.normal_(layer.weight, std=std)
    nn.init.constant_(layer.bias, bias)  # type: ignore[arg-type]
    return layer
