"""Plain training of parameters by Adam, all data sets and members side by side."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from medreg.errors import ConfigError


def train(loss: Callable[[Tensor], Tensor], start: Tensor, *, steps: int, lr: float) -> Tensor:
    """Minimise a sum of independent losses by Adam with a cosine schedule to 0; returns the parameters.

    Args:
        loss: parameters (…, D) → any number of losses, which are added.
        start: (…, D).
        steps: of Adam.
        lr: learning rate at the start.

    Raises:
        ConfigError: no step.
    """
    if steps < 1:
        raise ConfigError(f"steps is {steps}; a training needs at least one.")
    parameters = start.detach().clone().requires_grad_(True)
    optimiser = torch.optim.Adam([parameters], lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        optimiser.zero_grad()
        loss(parameters).sum().backward()
        optimiser.step()
        schedule.step()
    return parameters.detach()
