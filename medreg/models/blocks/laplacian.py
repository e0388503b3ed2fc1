"""The Laplacian pyramid of LapIRN, cLapIRN and CSAIN: each level corrects the field of the coarser one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medreg.geometry.precision import at_least_single
from medreg.geometry.warp import warp
from medreg.losses.similarity.lncc_multiscale import pool, subsample
from medreg.models.blocks.conditioning import Conditioning
from medreg.models.blocks.conv import CONVOLUTIONS, NEGATIVE_SLOPE, TRANSPOSED, channels_last, crop
from medreg.models.blocks.modulated_norm import Modulation, modulated_norm

Upsampling = Literal["exact", "authors"]
ConditioningFactory = Callable[..., Conditioning]
_LINEAR = {2: "bilinear", 3: "trilinear"}


class ResidualBlock(nn.Module):
    """f + conv(a(N₂(conv(a(N₁(f)))))) with conditioned normalisations N and a = LeakyReLU(0.2).

    Args:
        ndim: spatial dimensions.
        channels: number in input and output.
    """

    def __init__(self, ndim: int, channels: int) -> None:
        super().__init__()
        self.first = _convolution(ndim, channels, channels)
        self.second = _convolution(ndim, channels, channels)

    def forward(self, features: Tensor, first: Modulation | None, second: Modulation | None) -> Tensor:
        """Features (B, C, *s) to features of the same shape."""
        inner = self.first(F.leaky_relu(modulated_norm(features, first), NEGATIVE_SLOPE, inplace=True))
        return features + self.second(
            F.leaky_relu(modulated_norm(inner, second), NEGATIVE_SLOPE, inplace=True)
        )


class Level(nn.Module):
    """One level: encode, halve, residual blocks, double, predict a bounded correction of the field.

    All convolutions are without bias. Source: CSAIN's released network.py.

    Args:
        ndim: spatial dimensions.
        start_channels: sc; C = 4·sc.
        blocks: residual blocks.
        inputs: channels of moving, fixed and, from the second level on, the field.
        conditioning: modulation of the level's normalisations, two a block.
        last_layer_scale: factor of the initial weights of the last convolution; 1 = release.
    """

    def __init__(
        self,
        ndim: int,
        start_channels: int,
        *,
        blocks: int,
        inputs: int,
        conditioning: Conditioning,
        last_layer_scale: float,
    ) -> None:
        super().__init__()
        channels = 4 * start_channels
        self.encoder = nn.Sequential(
            _convolution(ndim, inputs, channels),
            nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True),
            _convolution(ndim, channels, channels),
        )
        self.down = _convolution(ndim, channels, channels, stride=2)
        self.conditioning = conditioning
        self.blocks = nn.ModuleList(ResidualBlock(ndim, channels) for _ in range(blocks))
        self.up = TRANSPOSED[ndim](channels, channels, 2, stride=2, bias=False)
        self.head = nn.Sequential(
            _convolution(ndim, 2 * channels, channels),
            nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True),
            _convolution(ndim, channels, ndim),
            nn.Softsign(),
        )
        cast("nn.Conv2d", self.head[2]).weight.data.mul_(last_layer_scale)

    def forward(self, inputs: Tensor, weight: Tensor, carried: Tensor | None) -> tuple[Tensor, Tensor]:
        """Correction in (−1, 1), (B, D, *S), and the features (B, C, *S) that the next level adds.

        Args:
            inputs: (B, inputs, *S).
            weight: λ, (B,) or a map on every second voxel of the level.
            carried: (B, C, *S/2), features of the coarser level.
        """
        encoded = self.encoder(channels_last(inputs))
        features = self.down(encoded)
        if carried is not None:
            features = features + carried
        modulations = self.conditioning(weight)
        for number, block in enumerate(self.blocks):
            features = block(features, modulations[2 * number], modulations[2 * number + 1])
            features = F.leaky_relu(features, NEGATIVE_SLOPE, inplace=True)
        features = self.up(features)
        return self.head(torch.cat((features, encoded), dim=1)), features


class LaplacianPyramid(nn.Module):
    """Fields of all levels, coarse to fine: u_l = U(u_{l−1}) + ρ·softsign(head_l), in units of half the image.

    Level images are pooled, the coarser field is doubled by U, the level sees [M_l∘(id + U(u)), F_l, U(u)], and
    features of the coarser level are added to its own. A level voxel i lies at voxel 2^k·i of the full grid, as
    pooling and strided convolutions have it. Any image size: padded inside with border values.

    Source: Mok & Chung, MICCAI 2020 and 2021; Wang et al., ISBI 2023, released network.py.

    Deviation: `upsampling: exact` doubles the field on common voxels; `authors` interpolates it with
    align_corners=False while everything else is corner-aligned, as the release does.

    Args:
        ndim: spatial dimensions.
        start_channels: sc.
        levels: resolutions 1, 1/2, 1/4, …
        blocks: residual blocks of a level.
        range_flow: ρ, bound of a level's correction in half images.
        conditioning: makes the conditioning of a level from (ndim, start_channels, layers=, finest=).
        upsampling: exact or authors.
        last_layer_scale: factor of the initial weights of every last convolution; 1 = release.
        channels: channels of one image.
    """

    def __init__(
        self,
        ndim: int,
        start_channels: int,
        *,
        levels: int,
        blocks: int,
        range_flow: float,
        conditioning: ConditioningFactory,
        upsampling: Upsampling,
        last_layer_scale: float,
        channels: int = 1,
    ) -> None:
        super().__init__()
        self.ndim, self.range_flow, self.upsampling = ndim, range_flow, upsampling
        self.strides = tuple(2**k for k in reversed(range(levels)))
        self.levels = nn.ModuleList(
            Level(
                ndim,
                start_channels,
                blocks=blocks,
                inputs=2 * channels + (ndim if number else 0),
                conditioning=conditioning(
                    ndim, start_channels, layers=2 * blocks, finest=number == levels - 1
                ),
                last_layer_scale=last_layer_scale,
            )
            for number in range(levels)
        )

    @property
    def multiple(self) -> int:
        """Image sizes are padded to multiples of this."""
        return 2 * self.strides[0]

    def forward(self, fixed: Tensor, moving: Tensor, weights: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Displacements of the levels that have weights, coarse to fine, each in voxels of its own grid.

        Args:
            fixed: (B, C, *S).
            moving: (B, C, *S).
            weights: λ of the first levels, (B,) or (B, 1, *⌈S/stride⌉) each.

        Returns:
            (B, D, *⌈S/stride⌉) each.
        """
        shape = fixed.shape[2:]
        padded = [self._padded(image) for image in (moving, fixed)]
        pyramid = [padded]
        for _ in self.strides[1:]:
            pyramid.insert(0, [pool(image) for image in pyramid[0]])
        field, carried, fields = None, None, []
        for level, images, weight in zip(self.levels, pyramid, weights, strict=False):
            field, carried = self._advance(cast("Level", level), images, weight, field, carried)
            fields.append(field)
        sizes = [[-(-size // stride) for size in shape] for stride in self.strides]
        return tuple(crop(field, size).contiguous() for field, size in zip(fields, sizes, strict=False))

    def _advance(
        self,
        level: Level,
        images: Sequence[Tensor],
        weight: Tensor,
        field: Tensor | None,
        carried: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """The level's field, voxels, and features, from those of the level below."""
        moving, fixed = images
        half = self._half_extent(fixed)
        if field is None:
            inputs = torch.cat((moving, fixed), dim=1)
        else:
            field = double(field, upsampling=self.upsampling)
            inputs = torch.cat((warp(moving, field.to(moving)), fixed, (field / half).to(fixed)), dim=1)
        correction, carried = level(inputs, self._on_features(weight, fixed), carried)
        step = self.range_flow * half * at_least_single(correction).contiguous()
        return (step if field is None else field + step), carried

    def _on_features(self, weight: Tensor, image: Tensor) -> Tensor:
        """A map on every second voxel of the padded level; a number stays."""
        if weight.ndim == 1:
            return weight
        return subsample(_extend(weight, image.shape[2:])).to(image)

    def _half_extent(self, image: Tensor) -> Tensor:
        """Voxels of one unit along each axis, (1, D, 1, …): half the distance of the outermost voxels."""
        sizes = torch.tensor(image.shape[2:], dtype=torch.float32, device=image.device)
        return ((sizes - 1) / 2).view(1, -1, *[1] * self.ndim)

    def _padded(self, image: Tensor) -> Tensor:
        # Two voxels at the coarsest features: one alone has no variance to normalise by.
        sizes = [max(2, -(-size // self.multiple)) * self.multiple for size in image.shape[2:]]
        return _extend(image, sizes)


def double(field: Tensor, *, upsampling: Upsampling) -> Tensor:
    """A displacement on a grid of twice as many voxels, lengths in voxels of that grid.

    Args:
        field: (B, D, *s), voxels.
        upsampling: "exact": voxel i of the field is voxel 2i of the result, the last one repeated. "authors":
            interpolation with align_corners=False, lengths scaled as if corners were aligned.

    Returns:
        (B, D, *2s), voxels.
    """
    ndim, shape = field.shape[1], field.shape[2:]
    if upsampling == "authors":
        gain = torch.tensor([(2 * n - 1) / (n - 1) for n in shape], device=field.device, dtype=field.dtype)
        return F.interpolate(field, scale_factor=2.0, mode=_LINEAR[ndim]) * gain.view(1, -1, *[1] * ndim)
    inner = [2 * n - 1 for n in shape]
    doubled = 2.0 * F.interpolate(field, size=inner, mode=_LINEAR[ndim], align_corners=True)
    return _extend(doubled, [2 * n for n in shape])


def _extend(image: Tensor, sizes: Sequence[int]) -> Tensor:
    """Repeat the border at the end of every axis until the sizes are reached."""
    missing = [want - have for want, have in zip(sizes, image.shape[2:], strict=True)]
    if not any(missing):
        return image
    for axis, amount in enumerate(missing):
        if amount:
            last = image.narrow(2 + axis, image.shape[2 + axis] - 1, 1)
            image = torch.cat((image, last.expand(*_repeated(last, axis, amount))), dim=2 + axis)
    return image


def _repeated(last: Tensor, axis: int, amount: int) -> list[int]:
    return [amount if n == 2 + axis else size for n, size in enumerate(last.shape)]


def _convolution(ndim: int, inputs: int, outputs: int, *, stride: int = 1) -> nn.Module:
    """3^D convolution without bias, torch's initial weights, as in the release."""
    return CONVOLUTIONS[ndim](inputs, outputs, 3, stride=stride, padding=1, bias=False)
