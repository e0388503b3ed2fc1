"""Layers that encoder and decoder of hearts share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from medreg.errors import ConfigError, require_choice, require_whole

KERNEL = (
    4  # voxels an axis of every convolution, stride 2, zero padding 1 (CHeart, released code, networks.py)
)
SLOPE = 0.2  # of LeakyReLU (the same source)
NORMS = ("batch", "per_frame", "group")
LEAST_GROUP = 4  # channels of a group of group normalisation, ours


def coarsest(size: Sequence[int], n_down: int) -> torch.Size:
    """Return the grid after n_down halvings.

    Raises:
        ConfigError: an axis is no multiple of 2^n_down.
    """
    require_whole("model.n_down", n_down, 1)
    if any(length % 2**n_down or length < 2**n_down for length in size):
        raise ConfigError(
            f"model.n_down={n_down} halves every axis {n_down} times, which {list(size)} voxels cannot be; "
            "choose a smaller model.n_down, or a grid whose axes are multiples of "
            f"{2**n_down}."
        )
    return torch.Size(length // 2**n_down for length in size)


def normalisation(kind: str, channels: int) -> nn.Module:
    """Return the normalisation of a layer.

    Args:
        kind: "batch" (and "per_frame", which only says what a batch is), or "group".
        channels: of the layer.
    """
    require_choice("model.norm", kind, NORMS)
    if kind == "group":
        return nn.GroupNorm(max(1, channels // LEAST_GROUP), channels)
    return nn.BatchNorm3d(channels)
