"""From the first frame and what is told of the conditions to the distribution of its code."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from medreg.models.hearts.layers import KERNEL, SLOPE, coarsest, normalisation


class ToldConvolution(nn.Conv3d):
    """A k4 s2 p1 convolution of an image and of numbers that are the same in every voxel.

    The numbers are inputs like the channels of the image, broadcast to all voxels; but they never are: away from the
    border they add Σ_taps w to the bias, and at the border the taps outside the zero-padded volume are left out. That
    makes three answers an axis, first, inner and last, each computed once. Equal to the plain form but for rounding.

    Args:
        channels: of the image.
        told: numbers.
        outputs: channels.
    """

    def __init__(self, channels: int, told: int, outputs: int) -> None:
        super().__init__(channels + told, outputs, KERNEL, stride=2, padding=1)
        self.channels = channels

    def forward(self, image: Tensor, told: Tensor | None = None) -> Tensor:
        """Convolve.

        Args:
            image: (B, C, *S), S even.
            told: (B, N).

        Returns:
            (B, O, *S/2).
        """
        of_image, of_told = self.weight[:, : self.channels], self.weight[:, self.channels :]
        found = nn.functional.conv3d(image, of_image, self.bias, stride=2, padding=1)
        if told is None or not told.shape[1]:
            return found
        return found + self._spread(torch.einsum("bn,onxyz->boxyz", told, of_told), found.shape[2:])

    def _spread(self, taps: Tensor, size: Sequence[int]) -> Tensor:
        """Sum the taps inside the volume, (B, O, 4, 4, 4) → (B, O, *size), axis after axis."""
        for axis, length in enumerate(size, start=2):
            cases = taps.new_zeros(length, KERNEL)
            cases[:] = 1.0
            cases[0, 0] = cases[-1, -1] = 0.0
            distinct = cases if length < 3 else cases[[0, 1, length - 1]]
            taps = torch.einsum("pt,botyz->bopyz", distinct, taps.transpose(2, axis)).transpose(2, axis)
        for axis, length in enumerate(size, start=2):
            if length > 3:
                places = torch.ones(length, dtype=torch.long, device=taps.device)
                places[0], places[-1] = 0, 2
                taps = taps.index_select(axis, places)
        return taps


class FrameEncoder(nn.Module):
    """q(z | x_0, c) = N(μ, σ²): convolutions that halve the grid, and two linear heads.

    k4 s2 p1 convolutions of nf, 2 nf, 4 nf, … channels, each with a normalisation and LeakyReLU(0.2), the last with
    ReLU (Qiao et al., TMI 2023, CHeart; released networks.py, where 0.2 stands in the place of the in-place flag).

    Args:
        classes: L + 1.
        told: numbers that it is told.
        size: S, voxels; a multiple of 2^n_down.
        n_down: convolutions.
        filters: nf.
        latent: z.
        norm: "batch" or "group".
    """

    def __init__(
        self,
        *,
        classes: int,
        told: int,
        size: Sequence[int],
        n_down: int,
        filters: int,
        latent: int,
        norm: str,
    ) -> None:
        super().__init__()
        widths = [filters * 2**level for level in range(n_down)]
        self.classes = classes
        self.first = ToldConvolution(classes, told, filters)
        others = [nn.Conv3d(before, after, KERNEL, stride=2, padding=1) for before, after in pairwise(widths)]
        self.others = nn.ModuleList(others)
        self.norms = nn.ModuleList(normalisation(norm, width) for width in widths)
        flat = widths[-1] * coarsest(size, n_down).numel()
        self.mean, self.log_variance = nn.Linear(flat, latent), nn.Linear(flat, latent)

    def forward(self, first: Tensor, told: Tensor) -> tuple[Tensor, Tensor]:
        """Return μ and log σ², (B, z) each, of frames (B, *S) uint8 and what is told, (B, N)."""
        features = self.first(one_hot(first, self.classes).to(self.first.weight.dtype), told)
        for place, norm in enumerate(self.norms):
            features = self.others[place - 1](features) if place else features
            features = norm(features)
            last = place == len(self.norms) - 1
            slope = 0.0 if last else SLOPE
            features = nn.functional.leaky_relu(features, slope, inplace=True)
        flat = features.contiguous().flatten(1)
        return self.mean(flat), self.log_variance(flat)


def one_hot(shape: Tensor, classes: int) -> Tensor:
    """Return 1 for the class of every voxel and 0 for the others, (B, classes, *S), channels innermost in memory."""
    places = torch.arange(classes, dtype=shape.dtype, device=shape.device)
    return (shape.unsqueeze(-1) == places).to(torch.get_default_dtype()).movedim(-1, 1)
