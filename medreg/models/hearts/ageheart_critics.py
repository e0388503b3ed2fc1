"""What judges the ageing heart while it learns: is a code uniform, is a heart real, how old is it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from medreg.errors import CompositionError

IMAGE_CHANNELS = (16, 32, 64, 128)  # released code of AgeHeart, networks.py (DiscriminatorImg_caae)
MOST_HALVINGS = 6  # the same, AgeClassifier on the full grid


class LatentCritic(nn.Module):
    """Whether a code was drawn from U(−1, 1) or comes from the encoder; z → width → width/2 → width/4 → 1.

    Source: released code of AgeHeart, networks.py (DiscriminatorZ_caae).

    Args:
        z_dim: length of the code.
        width: of the first layer.
        label_dim: numbers of the condition that it is told beside the code; 0 as published.
    """

    def __init__(self, z_dim: int, *, width: int, label_dim: int = 0) -> None:
        super().__init__()
        self.told = label_dim > 0
        widths = (z_dim + label_dim, width, width // 2, width // 4)
        layers: list[nn.Module] = []
        for now, following in pairwise(widths):
            layers += [nn.Linear(now, following), nn.BatchNorm1d(following), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], 1))

    def forward(self, code: Tensor, label: Tensor) -> Tensor:
        """Return logits (B, 1) of codes (B, z); the label (B, n) counts only where it is told."""
        logit: Tensor = self.layers(torch.cat((code, label), 1) if self.told else code)
        return logit


class ImageCritic(nn.Module):
    """Whether a heart is real and of the given age and sex.

    Source: released code of AgeHeart, networks.py (DiscriminatorImg_caae); the label joins after the first convolution.

    Args:
        channels: of a heart.
        label_dim: length of the label.
        size: S; 16 voxels an axis at least.
        width: of the linear layer.

    Raises:
        CompositionError: a smaller grid.
    """

    def __init__(self, channels: int, label_dim: int, *, size: Sequence[int], width: int) -> None:
        super().__init__()
        left = tuple(n // 2 ** len(IMAGE_CHANNELS) for n in size)
        if 0 in left:
            raise CompositionError(
                f"The discriminator of the ageing heart halves the grid {len(IMAGE_CHANNELS)} times; "
                f"{'×'.join(map(str, size))} voxels are too few, use data.grid=tiny or a finer one."
            )
        entries = (channels, IMAGE_CHANNELS[0] + label_dim, *IMAGE_CHANNELS[1:-1])
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv3d(now, after, 2, stride=2), nn.BatchNorm3d(after), nn.ReLU())
            for now, after in zip(entries, IMAGE_CHANNELS, strict=True)
        )
        self.linear = nn.Sequential(
            nn.Linear(IMAGE_CHANNELS[-1] * prod(left), width), nn.LeakyReLU(), nn.Linear(width, 1)
        )

    def forward(self, heart: Tensor, label: Tensor) -> Tensor:
        """Return logits (B, 1) of hearts (B, channels, *S) with labels (B, label_dim)."""
        first, *others = self.blocks
        features = first(heart)
        spread = label[:, :, None, None, None].expand(-1, -1, *features.shape[2:])
        features = torch.cat((features, spread), 1)
        for block in others:
            features = block(features)
        logit: Tensor = self.linear(features.flatten(1))
        return logit


class AgeClassifier(nn.Module):
    """The group of age of a heart; it halves the grid until an axis is one voxel.

    Source: released code of AgeHeart, networks.py (AgeClassifier), with 64 base channels and six halvings.

    Args:
        channels: of a heart.
        base_channels: of the first convolution; each next has twice as many.
        size: S.
        groups: of age.
        dropout: share of the features left out in training; 0 as released.
    """

    def __init__(
        self, channels: int, *, base_channels: int, size: Sequence[int], groups: int, dropout: float
    ) -> None:
        super().__init__()
        depth = min(MOST_HALVINGS, min(size).bit_length() - 1)
        layers: list[nn.Module] = []
        now, wide = channels, base_channels
        for _ in range(depth):
            layers += [nn.Conv3d(now, wide, 4, stride=2, padding=1), nn.BatchNorm3d(wide), nn.ReLU()]
            now, wide = wide, 2 * wide
        left = prod(n // 2**depth for n in size)
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(dropout), nn.Linear(now * left, groups))

    def forward(self, heart: Tensor) -> Tensor:
        """Return logits (B, groups) of hearts (B, channels, *S)."""
        logits: Tensor = self.layers(heart)
        return logits


@contextmanager
def held(network: nn.Module, *, still: bool = False) -> Iterator[None]:
    """Let a network judge without learning: no gradient of its weights, no change of its running statistics.

    Gradients flow through it to what it judges.

    Args:
        network: the judge.
        still: whether it judges as in evaluation, by its running statistics; otherwise by those of the batch.
    """
    training = network.training
    if still:
        network.eval()
    weights = [p for p in network.parameters() if p.requires_grad]
    norms = [part for part in network.modules() if isinstance(part, _BatchNorm) and part.track_running_stats]
    for weight in weights:
        weight.requires_grad_(False)
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        network.train(training)
        for weight in weights:
            weight.requires_grad_(True)
        for norm in norms:
            norm.track_running_stats = True
