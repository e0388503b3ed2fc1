"""What is random in a step of an adversary, from the number of the step alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Chance:
    """Sources of chance of one call: of the chain (the same in all processes), of parameters and of dropout (not).

    Attributes:
        seed: of the adversary.
        step: number of the call.
    """

    seed: int
    step: int

    def of_chain(self) -> torch.Generator:
        """A generator on the CPU that every process has alike."""
        return torch.Generator().manual_seed(self._word(0, 0))

    def of_parameters(self, device: torch.device) -> torch.Generator:
        """A generator of this process."""
        return torch.Generator(device=device).manual_seed(self._word(1, rank()))

    def of_dropout(self) -> int:
        """Seed of the global generators in this process."""
        return self._word(2, rank())

    def _word(self, *numbers: int) -> int:
        return int(np.random.SeedSequence((self.seed, self.step, *numbers)).generate_state(1, np.uint64)[0])


def rank() -> int:
    """Number of this process among those of a distributed training, 0 if there is none."""
    distributed = torch.distributed
    return distributed.get_rank() if distributed.is_available() and distributed.is_initialized() else 0
