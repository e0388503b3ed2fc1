"""Small hearts for tests: three nested balls whose sizes and places vary."""

from __future__ import annotations

import torch
from torch import Tensor

from medreg.models.hearts.condition import Number, Sex
from medreg.models.hearts.conditions import Conditions

SIZE, FRAMES, CLASSES = (8, 7, 6), 3, 4


def conditions() -> Conditions:
    return Conditions(
        {"age_years": Number(centre=60, scale=10, least=0, greatest=120, unit="years"), "sex": Sex()}
    )


def people(count: int, seed: int = 0) -> dict[str, Tensor]:
    chance = torch.Generator().manual_seed(seed)
    age = 60 + 10 * torch.randn(count, generator=chance)
    return {"age_years": age, "sex": (torch.rand(count, generator=chance) < 0.5).float()}


def hearts(count: int, seed: int = 0, effect: float = 0.0) -> Tensor:
    """(N, T, *S) uint8; sizes grow with the age of `people(count, seed)` by `effect` voxels a standard deviation."""
    chance = torch.Generator().manual_seed(100 + seed)
    age = (people(count, seed)["age_years"] - 60) / 10
    axes = [torch.arange(side) - (side - 1) / 2 for side in SIZE]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    found = torch.zeros(count, FRAMES, *SIZE, dtype=torch.uint8)
    for heart in range(count):
        shift = 0.7 * torch.randn(3, generator=chance).view(3, 1, 1, 1)
        radius = 2.0 + 0.4 * float(torch.randn((), generator=chance)) + effect * float(age[heart])
        for frame in range(FRAMES):
            apart = (grid - shift).square().sum(0).sqrt() + 0.3 * frame
            for place, wide in ((3, 1.2), (2, 0.6), (1, 0.0)):
                found[heart, frame][apart < radius + wide] = place
    return found
