"""Who tells real frames of hearts from made ones."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from medreg.models.hearts.layers import KERNEL, SLOPE, coarsest


class FrameDiscriminator(nn.Module):
    """A number a frame, positive for real: convolutions that halve the grid, and one over what is left of it.

    The frame, and the conditions of its heart in every voxel, pass a convolution of nf channels each; together they
    go on to twice as many channels a level. Batch normalisation and LeakyReLU(0.2) follow all but the last, whose
    number is the log odds (the released sigmoid is part of our loss). CHeart, first released code, networks.py
    GenCDCGAN_D_seq; without conditions it is that of its CVAE-GAN.

    Args:
        classes: L + 1.
        told: numbers of the conditions; 0: it is not told them.
        size: S, voxels; a multiple of 2^n_down.
        n_down: halvings of the grid.
        filters: nf.
    """

    def __init__(self, *, classes: int, told: int, size: Sequence[int], n_down: int, filters: int) -> None:
        super().__init__()
        self.told = told
        self.of_frame = _halving(classes, filters)
        self.of_told = _halving(told, filters) if told else None
        width = filters * 2 if told else filters
        widths = [width * 2**level for level in range(n_down)]
        self.body = nn.Sequential(*(_halving(a, b) for a, b in pairwise(widths)))
        self.head = nn.Conv3d(widths[-1], 1, kernel_of(size, n_down))

    def forward(self, frames: Tensor, told: Tensor) -> Tensor:
        """Return the log odds that frames are real, (B, F).

        Args:
            frames: (B, F, L + 1, *S), probabilities of the classes.
            told: (B, N) conditions.
        """
        features = self.of_frame(frames.flatten(0, 1))
        if self.of_told is not None:
            spread = told.view(*told.shape, *[1] * (frames.ndim - 3)).expand(-1, -1, *frames.shape[3:])
            known = self.of_told(spread).repeat_interleave(frames.shape[1], 0)
            features = torch.cat([features, known], 1)
        found: Tensor = self.head(self.body(features)).view(frames.shape[:2])
        return found


def kernel_of(size: Sequence[int], n_down: int) -> tuple[int, int, int]:
    """Return the kernel that covers the grid after n_down halvings."""
    width, depth, height = coarsest(size, n_down)
    return width, depth, height


def _halving(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(inputs, outputs, KERNEL, stride=2, padding=1),
        nn.BatchNorm3d(outputs),
        nn.LeakyReLU(SLOPE, inplace=True),
    )
