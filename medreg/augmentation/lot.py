"""What chance decides for one step of an adversary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from medreg.augmentation.chain import Chain
from medreg.augmentation.chain_rule import ChainRule

if TYPE_CHECKING:
    from medreg.augmentation.member import Member


@dataclass(frozen=True)
class Lot:
    """The chain of a step, and where the rest of its chance comes from.

    Attributes:
        chain: of members.
        order: their places among the members to choose from.
        generator: source of parameters.
        passes: seed of the global generators in every pass of the network.
    """

    chain: Chain
    order: Sequence[int]
    generator: torch.Generator
    passes: int

    @classmethod
    def draw(
        cls, members: Sequence[Member], rule: ChainRule, *, seed: int, step: int, device: torch.device
    ) -> Lot:
        """Cast the lot of a step; the chain depends on (seed, step), the rest on the process, too.

        Args:
            members: to choose from.
            rule: which are chained, in which order.
            seed: of everything random.
            step: number of the step.
            device: of the images.
        """
        order = rule.choose(len(members), torch.Generator().manual_seed(_word(seed, step, 0, 0)))
        generator = torch.Generator(device=device).manual_seed(_word(seed, step, 1, _rank()))
        chain = Chain(tuple(members[index] for index in order))
        return cls(chain, order, generator, _word(seed, step, 2, _rank()))


def _word(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


def _rank() -> int:
    distributed = torch.distributed
    return distributed.get_rank() if distributed.is_available() and distributed.is_initialized() else 0
