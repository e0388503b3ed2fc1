"""Where a training stands in a step: what its parts may ask for, and their chance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Moment:
    """A step of training.

    Attributes:
        forward: from images (N, C, *S) and a network to its scores (N, L + 1, *S) on their grid.
        model: the network that is trained.
        epoch: from 0.
        step: number of batches before this one, over all epochs.
        seed: of everything random.
        rank: of the process.
        device: of the images.
    """

    forward: Callable[[Tensor, nn.Module], Tensor]
    model: nn.Module
    epoch: int
    step: int
    seed: int
    rank: int
    device: torch.device

    def scores(self, image: Tensor) -> Tensor:
        """Return the scores (N, L + 1, *S) of the network that is trained."""
        return self.forward(image, self.model)

    def generator(self, stream: str) -> torch.Generator:
        """Return a source of chance that depends on seed, step, process and purpose only, so that resuming is exact.

        Args:
            stream: the purpose.
        """
        return chance(self.seed, self.step, self.rank, stream=stream, device=self.device)


def chance(*numbers: int, stream: str, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a source of chance that depends on some numbers and a purpose only.

    Args:
        *numbers: such as seed, step and process, 0 or more each.
        stream: the purpose.
        device: where it draws.
    """
    entropy = (*numbers, *stream.encode())
    word = int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0])
    return torch.Generator(device).manual_seed(word)
