"""Bare torch: the native sampler, alone and with the grid made in each call."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from experiments.performance.inputs import Inputs
from experiments.performance.work import Contender, Maker, Work


class GridSample(Contender):
    """`grid_sample` on a grid that is ready: what no warp by a displacement has to beat, but ours shall reach."""

    name = "torch grid_sample"
    distribution = "torch"
    module = "torch"

    def operators(self) -> Mapping[str, Maker]:
        """Warp; and squaring as a loop of warps."""
        return {"warp": _warp, "exponential": _exponential}


def _identity(shape: tuple[int, ...], device: str) -> tuple[Tensor, Tensor]:
    """Normalised grid (1, *S, D), last axis first, and the factor of a displacement (D)."""
    axes = [torch.linspace(-1, 1, side, device=device) for side in shape]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], -1)[None]
    return grid, torch.tensor([2 / (side - 1) for side in shape[::-1]], device=device)


def _warp(inputs: Inputs) -> Work:
    identity, scale = _identity(inputs.size.shape, inputs.device)
    grid = (identity + inputs.displacement.flip(1).movedim(1, -1) * scale).contiguous()
    image = inputs.moving

    def run() -> Tensor:
        return F.grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=True)

    return Work(run, (grid,), inputs.cotangent[:, :1])


def _exponential(inputs: Inputs) -> Work:
    identity, scale = _identity(inputs.size.shape, inputs.device)
    field = inputs.displacement

    def run() -> Tensor:
        u = field / 2**inputs.squarings
        for _ in range(inputs.squarings):
            grid = identity + u.flip(1).movedim(1, -1) * scale
            u = u + F.grid_sample(u, grid, mode="bilinear", padding_mode="border", align_corners=True)
        return u

    return Work(run, (field,), inputs.cotangent)
