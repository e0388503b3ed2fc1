"""How a smoothness λ enters a network: it scales and shifts normalised features.

Each conditioning turns λ into the modulations (γ, β) of all normalisations of one pyramid level, to be used as
(1 + γ)·IN(f) + β. Three are interchangeable: a map of λ through convolutions (CSAIN), one λ through a small
perceptron (CIN of cLapIRN), and none.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

from medreg.models.blocks.conv import CONVOLUTIONS, NEGATIVE_SLOPE, channels_last
from medreg.models.blocks.modulated_norm import Modulation

_MAPPING = 64  # channels of the perceptron of cLapIRN and of its convolutional form


class Conditioning(nn.Module, ABC):
    """From λ to the modulations of one level.

    Attributes:
        takes_maps: whether λ may be a map.
    """

    takes_maps: ClassVar[bool] = False

    @abstractmethod
    def forward(self, weight: Tensor) -> Sequence[Modulation | None]:
        """Modulations in the order of the level's normalisations.

        Args:
            weight: λ on the grid of the features, (B, 1, *s) where maps are taken, else (B,).
        """


class SpatiallyAdaptive(Conditioning):
    """CSAIN: γ_j = a(G_j * H), β_j = a(B_j * H) with H = a_H(W * [Λ, Λ]), all 3^D convolutions without bias.

    a is LeakyReLU(0.2); a_H is ReLU, and LeakyReLU(0.2) at the finest level (no difference of the release is
    left out). Λ = 0 gives γ = β = 0, and both are positively homogeneous in Λ. The G_j and B_j see the same H
    and are kept as one convolution. Source: Wang et al., ISBI 2023, released network.py.

    Args:
        ndim: spatial dimensions.
        start_channels: sc; 4·sc feature channels, 2·sc channels of H.
        layers: number of normalisations.
        finest: whether the level is the finest.
        mapping: four 1^D convolutions of 64 channels with bias in front, with which a uniform Λ is as
            expressive as CIN (ours; the release has none).
    """

    takes_maps = True

    def __init__(
        self, ndim: int, start_channels: int, *, layers: int, finest: bool, mapping: bool = False
    ) -> None:
        super().__init__()
        layer = CONVOLUTIONS[ndim]
        hyper = 2 * start_channels
        self.layers = layers
        self.encoder = nn.Sequential(
            layer(2, hyper, 3, padding=1, bias=False),
            nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True) if finest else nn.ReLU(inplace=True),
        )
        sizes = [hyper] + [_MAPPING] * (4 if mapping else 0)
        self.mapping = nn.Sequential(
            *(
                nn.Sequential(layer(a, b, 1), nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True))
                for a, b in pairwise(sizes)
            )
        )
        self.modulations = layer(sizes[-1], 2 * layers * 4 * start_channels, 3, padding=1, bias=False)

    def forward(self, weight: Tensor) -> Sequence[Modulation]:
        """γ and β maps (B, 4·sc, *s) from the map Λ (B, 1, *s)."""
        features = self.mapping(self.encoder(channels_last(torch.cat((weight, weight), dim=1))))
        raw = nn.functional.leaky_relu(self.modulations(features), NEGATIVE_SLOPE, inplace=True)
        parts = raw.chunk(2 * self.layers, dim=1)
        return [Modulation(parts[2 * j], parts[2 * j + 1]) for j in range(self.layers)]


class InstanceConditioned(Conditioning):
    """CIN of cLapIRN: (γ_j, β_j) linear in the style that a perceptron of the block makes of one λ.

    Per residual block a perceptron 1 → 64 → 64 → 64 → 64, LeakyReLU(0.2) after every layer; per normalisation a
    linear map 64 → 2C whose bias starts at 0. Source: Mok & Chung, MICCAI 2021, released code.

    Args:
        ndim: spatial dimensions.
        start_channels: sc; 4·sc feature channels.
        layers: number of normalisations, two a block.
        finest: whether this is the finest level; without effect, the levels are alike.
    """

    def __init__(self, ndim: int, start_channels: int, *, layers: int, finest: bool) -> None:
        super().__init__()
        self.ndim = ndim
        self.mappings = nn.ModuleList(_perceptron() for _ in range(layers // 2))
        self.styles = nn.ModuleList(nn.Linear(_MAPPING, 8 * start_channels) for _ in range(layers))
        for style in self.styles:
            nn.init.zeros_(style.bias)  # type: ignore[arg-type]

    def forward(self, weight: Tensor) -> Sequence[Modulation]:
        """γ and β (B, 4·sc, 1, …) from λ (B,)."""
        latent = [mapping(weight[:, None]) for mapping in self.mappings]
        modulations = []
        for number, style in enumerate(self.styles):
            values = style(latent[number // 2])
            values = values.view(*values.shape, *[1] * self.ndim)
            modulations.append(Modulation(*values.chunk(2, dim=1)))
        return modulations


class Unconditioned(Conditioning):
    """Plain instance normalisation, for networks of one fixed λ (LapIRN).

    Args:
        ndim: spatial dimensions.
        start_channels: sc.
        layers: number of normalisations.
        finest: whether this is the finest level; without effect.
    """

    def __init__(self, ndim: int, start_channels: int, *, layers: int, finest: bool) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, weight: Tensor) -> Sequence[None]:
        """Nothing to modulate with, whatever λ."""
        return [None] * self.layers


def _perceptron() -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs in (1, _MAPPING, _MAPPING, _MAPPING):
        layers += [nn.Linear(inputs, _MAPPING), nn.LeakyReLU(NEGATIVE_SLOPE)]
    return nn.Sequential(*layers)
