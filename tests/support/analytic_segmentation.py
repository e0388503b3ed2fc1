"""Images, a network and parameters of a chain that are formulas, so that numbers of other programs can be kept."""

from __future__ import annotations

import math

import torch
from torch import nn

from medreg.augmentation.member import unit


def wave(*shape, a, b=0.0):
    """sin(a·i + 0.3·√i + b) for i = 0, 1, … in C order, computed in float64."""
    index = torch.arange(math.prod(shape), dtype=torch.float64)
    return torch.sin(a * index + 0.3 * index.sqrt() + b).reshape(shape).float()


def images(shape):
    """Two rings (2, 1, 48, 40), or a shell (1, 1, 24, 20, 12), each between 0 and 1."""
    grid = torch.meshgrid(*(torch.linspace(-1, 1, size) for size in shape), indexing="ij")
    if len(shape) == 3:
        x, y, z = grid
        distance = ((x - 0.1) ** 2 + (1.2 * (y + 0.2)) ** 2 + (0.9 * z) ** 2).sqrt()
        made = [shell(distance, 0.6, 12, 14) + 0.1 * torch.sin(5 * x + 3 * y - 4 * z) ** 2]
    else:
        x, y = grid
        made = []
        for number, (left, down, radius) in enumerate([(0.1, -0.2, 0.5), (-0.15, 0.1, 0.6)]):
            distance = ((x - left) ** 2 + ((y - down) * 1.2) ** 2).sqrt()
            made.append(shell(distance, radius, 15, 18) + 0.1 * torch.sin(5 * x + 3 * y + number) ** 2)
    stack = torch.stack(made).unsqueeze(1)
    low, high = (
        f(stack.flatten(1), 1).reshape(-1, *[1] * (stack.ndim - 1)) for f in (torch.amin, torch.amax)
    )
    return (stack - low) / (high - low)


def shell(distance, radius, outer, inner):
    return (
        torch.sigmoid((radius - distance) * outer) * 0.6
        + torch.sigmoid((radius / 2 - distance) * inner) * 0.4
    )


class AnalyticNet(nn.Module):
    """Two convolutions with waves as weights; no normalisation, so that the mode does not matter."""

    def __init__(self, ndim):
        super().__init__()
        make = {2: nn.Conv2d, 3: nn.Conv3d}[ndim]
        hidden, classes, kernel = {2: (6, 4, 5), 3: (5, 3, 3)}[ndim]
        self.a = make(1, hidden, 3, padding=1)
        self.b = make(hidden, classes, kernel, padding=kernel // 2)
        scale = 0.8 if ndim == 2 else 0.5
        with torch.no_grad():
            for number, weights in enumerate(self.parameters()):
                weights.copy_(wave(*weights.shape, a=1.7 + number, b=number) * (scale if number < 2 else 0.6))

    def forward(self, image):
        return self.b(torch.tanh(3 * self.a(image)))


def parameters(kind, member, image):
    """φ of a family from waves; theirs, in our order of axes and signs of angles."""
    shape = member.identity(image).shape
    if kind == "noise":
        return unit(wave(*shape, a=2.3))
    if kind == "bias":
        return wave(*shape, a=1.3) * 0.2 - 0.05
    if kind == "morph":
        return member.project(1e3 * wave(*shape, a=0.9)).flip(1)
    theirs = wave(*shape, a=2.1) * 0.6
    turns = 1 if shape[1] == 5 else 3
    groups = theirs.split([turns, (shape[1] - turns) // 2, (shape[1] - turns) // 2], 1)
    return torch.cat([-groups[0].flip(1), groups[1].flip(1), groups[2].flip(1)], 1)
