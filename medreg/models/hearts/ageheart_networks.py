"""Encoder and generator of the ageing heart."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn

from medreg.errors import CompositionError

FULL_GRID = (128, 128, 64)  # the one grid on which the released convolutions without padding end in one voxel
RELEASED_KERNELS = ((5, 5, 5),) * 4 + ((5, 5, 1),)  # X, Y, Z


class IdentityEncoder(nn.Module):
    """A heart to a code in (−1, 1), without being told age or sex.

    On the full grid five convolutions without padding, as released (networks.py, Encoder_caae); on others padded
    convolutions that halve the grid. They have no normalisation.

    Args:
        channels: of the input.
        base_channels: of the first convolution; each next has twice as many.
        size: S.
        depth: number of convolutions on other grids than the full one.
        z_dim: length of the code.
        normalised: whether codes have mean 0 and variance 1 over a batch before the tanh (ours; not released). Without
            it, what the generator has to learn of all hearts alike drives every code to ±1 in the first steps, where
            the tanh passes no gradient, and the generator is left with age and sex.
    """

    def __init__(
        self,
        channels: int,
        *,
        base_channels: int,
        size: Sequence[int],
        depth: int,
        z_dim: int,
        normalised: bool,
    ) -> None:
        super().__init__()
        released = tuple(size) == FULL_GRID
        layers: list[nn.Module] = []
        now, wide = channels, base_channels
        for kernel in RELEASED_KERNELS if released else ((4, 4, 4),) * depth:
            layers += [nn.Conv3d(now, wide, kernel, stride=2, padding=0 if released else 1), nn.ReLU()]
            now, wide = wide, 2 * wide
        left = (1, 1, 1) if released else halved(size, depth)
        self.convolutions = nn.Sequential(*layers)
        self.code = nn.Linear(now * prod(left), z_dim)
        self.norm = nn.BatchNorm1d(z_dim, affine=False) if normalised else nn.Identity()

    def forward(self, heart: Tensor) -> Tensor:
        """Return codes (B, z) of hearts (B, channels, *S) of shares from 0 to 1."""
        last = heart.contiguous(memory_format=torch.channels_last_3d)  # faster on a CPU, as in the generator
        return torch.tanh(self.norm(self.code(self.convolutions(last).flatten(1))))


class HeartGenerator(nn.Module):
    """A code and a style to a heart, by a linear layer and transposed convolutions that double the grid.

    Source: released code of AgeHeart, networks.py (Generator_caae), which has five of them and starts from 4×4×2 voxels
    of 1024 channels.

    Args:
        entries: length of code and style together.
        channels: of the output.
        base_channels: after the last convolution but one; each before has twice as many.
        size: S.
        depth: number of transposed convolutions; five on the full grid.
    """

    def __init__(
        self, entries: int, channels: int, *, base_channels: int, size: Sequence[int], depth: int
    ) -> None:
        super().__init__()
        depth = len(RELEASED_KERNELS) if tuple(size) == FULL_GRID else depth
        self.start = halved(size, depth)
        now = base_channels * 2 ** (depth - 1)
        self.linear = nn.Linear(entries, now * prod(self.start))
        layers: list[nn.Module] = []
        for place in range(depth):
            following = channels if place == depth - 1 else now // 2
            layers += [nn.ReLU(), nn.ConvTranspose3d(now, following, 4, stride=2, padding=1)]
            now = following
        self.convolutions = nn.Sequential(*layers)

    def forward(self, code: Tensor, style: Tensor) -> Tensor:
        """Return scores (B, channels, *S), before tanh or softmax."""
        start = self.linear(torch.cat((code, style), 1)).view(len(code), -1, *self.start)
        # Channels last: half the time of a transposed convolution on a CPU, and what follows wants them first again.
        scores: Tensor = self.convolutions(start.contiguous(memory_format=torch.channels_last_3d))
        return scores.contiguous()


def start_as_he(network: nn.Module) -> None:
    """Draw weights with the variance that keeps signals alive through ReLUs (He et al., ICCV 2015), biases 0.

    PyTorch's own start shrinks them in every layer, so that the codes of all hearts begin as one and the same, and a
    generator that is told age and sex learns the mean heart of each before it looks at a code.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv3d | nn.ConvTranspose3d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)


def halved(size: Sequence[int], times: int) -> tuple[int, ...]:
    """Return the grid after so many halvings.

    Raises:
        CompositionError: a size that cannot be halved as often.
    """
    wrong = [n for n in size if n % 2**times or n < 2**times]
    if wrong:
        raise CompositionError(
            f"The grid {'×'.join(map(str, size))} cannot be halved {times} times; set model.n_down to fewer, or "
            "data.size to multiples of a higher power of 2."
        )
    return tuple(n // 2**times for n in size)
