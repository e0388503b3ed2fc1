"""Denoisers of displacement fields: what takes the place of a regulariser's proximal step in VR-Net."""

from __future__ import annotations

from torch import Tensor, nn

from medreg.inference.smoothing import gaussian_smooth
from medreg.models.blocks.conv import CONVOLUTIONS, channels_last, last_convolution
from medreg.models.blocks.strided_unet import Initialisation, StridedUNet


class UNetDenoiser(nn.Module):
    """v = U(u), or v = G_σ*u + U(u) with `residual`; the network sees the field only, never the images.

    Source: Jia et al., VR-Net, IEEE TMI 41(1), 2022: the abstract speaks of a residual U-Net (σ = 0), the
    released forward pass has no skip around it.

    Deviation: with σ > 0 the network corrects the denoiser of a demons scheme instead of the identity.

    Args:
        ndim: spatial dimensions, 2 or 3.
        start_channels: number at the finest level.
        residual: add the input, smoothed.
        sigma: standard deviation of this smoothing, voxels; 0 = none.
        initialisation: "he" or "torch" (release).
        last_layer_scale: factor of the last convolution's initial weights; 1 = release.
    """

    def __init__(
        self,
        ndim: int,
        *,
        start_channels: int,
        residual: bool,
        sigma: float,
        initialisation: Initialisation,
        last_layer_scale: float,
    ) -> None:
        super().__init__()
        self.residual, self.sigma = residual, sigma
        self.network = StridedUNet(
            ndim,
            ndim,
            start_channels=start_channels,
            initialisation=initialisation,
            last_layer_scale=last_layer_scale,
        )

    @property
    def multiple(self) -> int:
        """Every size of the field must divide by this."""
        return self.network.multiple

    def forward(self, field: Tensor) -> Tensor:
        """Denoise (B, D, *S)."""
        answer: Tensor = self.network(field)
        return gaussian_smooth(field, self.sigma) + answer if self.residual else answer


class ResidualBlockDenoiser(nn.Module):
    """v = u + C(u) with convolutions 3^D and ReLU at full resolution; a smaller stand-in for the U-Net.

    Args:
        ndim: spatial dimensions, 2 or 3.
        channels: number in the hidden layers.
        layers: convolutions, the linear last one included.
        last_layer_scale: factor of the last convolution's initial weights.
    """

    multiple = 1

    def __init__(self, ndim: int, *, channels: int, layers: int, last_layer_scale: float) -> None:
        super().__init__()
        hidden: list[nn.Module] = []
        for number in range(layers - 1):
            width = ndim if number == 0 else channels
            hidden += [CONVOLUTIONS[ndim](width, channels, 3, padding=1), nn.ReLU(inplace=True)]
        self.hidden = nn.Sequential(*hidden)
        self.last = last_convolution(ndim, channels, ndim, scale=last_layer_scale)

    def forward(self, field: Tensor) -> Tensor:
        """Denoise (B, D, *S)."""
        return field + self.last(self.hidden(channels_last(field))).contiguous()


class GaussianDenoiser(nn.Module):
    """v = G_σ * u: nothing learned, which leaves a classical demons-like scheme; σ = 0 is no denoiser at all.

    Args:
        ndim: spatial dimensions; any.
        sigma: standard deviation, voxels.
    """

    multiple = 1

    def __init__(self, ndim: int, *, sigma: float) -> None:
        super().__init__()
        self.sigma = sigma

    def forward(self, field: Tensor) -> Tensor:
        """Smooth (B, D, *S)."""
        return gaussian_smooth(field, self.sigma)

    def extra_repr(self) -> str:
        """Width."""
        return f"sigma={self.sigma}"
