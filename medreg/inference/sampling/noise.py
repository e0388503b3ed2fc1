"""White noise with a stream of its own for every chain."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Noise:
    """Standard normal numbers for the chains of a batch, each from a generator of its own.

    What a chain is given depends neither on how many chains there are nor on whether others have stopped, so that
    a batch of chains is the same as the chains one after another.

    Args:
        generators: one for every chain, on the device of the state.
    """

    def __init__(self, generators: Sequence[torch.Generator]) -> None:
        self.generators = list(generators)

    @classmethod
    def spawn(cls, generator: torch.Generator, count: int, *, device: torch.device | str = "cpu") -> Noise:
        """Streams whose seeds are drawn from one generator, which moves on by one draw.

        Args:
            generator: source of the seeds.
            count: number of streams.
            device: where the numbers are wanted.
        """
        seeds = torch.randint(2**62, (count,), generator=generator, device=generator.device)
        return cls([torch.Generator(device).manual_seed(seed) for seed in seeds.tolist()])

    def fill(self, out: Tensor) -> Tensor:
        """Overwrite (S, ...) with noise, chain by chain, and return it."""
        for part, generator in zip(out, self.generators, strict=True):
            part.normal_(generator=generator)
        return out

    def state(self) -> list[Tensor]:
        """Where every stream is."""
        return [generator.get_state() for generator in self.generators]

    def load_state(self, state: Sequence[Tensor]) -> None:
        """Go on from what `state` gave."""
        for generator, place in zip(self.generators, state, strict=True):
            generator.set_state(place)
