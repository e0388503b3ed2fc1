"""Which transformations a step chains, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from medreg.augmentation.chain import Chain
from medreg.augmentation.member import Member
from medreg.errors import ConfigError, require_choice, require_whole


@dataclass(frozen=True)
class ChainRule:
    """A law over chains; every order of the chosen members is equally likely.

    "fixed" is all members as they are listed. "bernoulli" keeps each with probability ½, all of them if none is
    kept (experiment script of the authors). "random_length" keeps a number that is uniform in 1 … longest (release).
    The released shuffle reaches 6 of the 24 orders of four members, and fails since Python 3.11; here a generator
    shuffles uniformly.

    Chen et al., Enhancing MR Image Segmentation with Realistic Adversarial Data Augmentation, MedIA 2022.

    Attributes:
        kind: "fixed", "bernoulli" or "random_length".
        longest: most members of a chain of random length; None is all of them.
    """

    kind: Literal["fixed", "bernoulli", "random_length"] = "bernoulli"
    longest: int | None = None

    def __post_init__(self) -> None:
        require_choice("chain_rule.kind", self.kind, ("fixed", "bernoulli", "random_length"))
        if self.longest is not None:
            require_whole("chain_rule.longest", self.longest, 1)
            if self.kind != "random_length":
                raise ConfigError(
                    f"chain_rule.longest belongs to kind=random_length, and the kind is {self.kind}; leave it out."
                )

    def draw(self, members: Sequence[Member], generator: torch.Generator) -> Chain:
        """Throw the dice.

        Args:
            members: transformations to choose from.
            generator: source of chance, on any device.

        Raises:
            ConfigError: no members.
        """
        return Chain(tuple(members[index] for index in self.choose(len(members), generator)))

    def choose(self, count: int, generator: torch.Generator) -> list[int]:
        """Indices of the members of a chain, first to last, of so many to choose from."""
        if self.kind == "fixed" or count == 0:
            return list(range(count))
        device = generator.device
        order: list[int] = torch.randperm(count, generator=generator, device=device).tolist()
        if self.kind == "bernoulli":
            kept = (torch.rand(count, generator=generator, device=device) < 0.5).tolist()
            return [index for index in order if kept[index]] or order
        most = min(self.longest or count, count)
        length = int(torch.randint(1, most + 1, (1,), generator=generator, device=device))
        return order[:length]
