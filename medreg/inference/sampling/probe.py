"""Whole chains at a few voxels: what diagnostics, scores and traces are made of."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from medreg.errors import CompositionError, DataError
from medreg.inference.sampling.draw import Draw

BLOCK = 64  # samples of a chain in one piece of memory


class _Chain:
    """The samples of one chain in a few large pieces of memory.

    As small tensors of their own they would lie between the large arrays of a sampling, whose places could not be used
    again: memory would grow by a whole field with every sample.
    """

    def __init__(self, samples: Tensor | None = None) -> None:
        self.count = 0
        self._blocks: list[Tensor] = []
        for sample in () if samples is None else samples:
            self.append(sample)

    def append(self, sample: Tensor) -> None:
        place = self.count % BLOCK
        if not place:
            self._blocks.append(torch.empty(BLOCK, *sample.shape, dtype=sample.dtype))
        self._blocks[-1][place] = sample
        self.count += 1

    def samples(self) -> Tensor:
        return torch.cat(self._blocks)[: self.count]


class Probe:
    """Every sample at some voxels, and the numbers of every sample, chain by chain.

    Args:
        positions: (P, V) index of voxels in the flattened grid; chain c of pair p is at c·P + p.
    """

    def __init__(self, positions: Tensor) -> None:
        self.positions = positions
        self._fields: list[_Chain] = []  # slot: samples (D, V)
        self._scalars: list[dict[str, list[float]]] = []
        self._transitions: list[list[int]] = []

    @classmethod
    def at_random(cls, mask: Tensor, *, count: int, generator: torch.Generator) -> Probe:
        """Different voxels of a mask, at most `count` of each pair, the same number of every pair.

        Args:
            mask: (P, 1, *S), non-zero where voxels may be taken.
            count: voxels; 500 are enough for diagnostics.
            generator: on the CPU.

        Raises:
            DataError: the mask of a pair is empty.
        """
        inside = [item.flatten().nonzero().flatten().cpu() for item in mask]
        number = min(count, *(len(voxels) for voxels in inside)) if inside else 0
        if not number:
            raise DataError(
                "The mask of a pair is empty, so that no voxel can be probed; give one that is not."
            )
        chosen = [voxels[torch.randperm(len(voxels), generator=generator)[:number]] for voxels in inside]
        return cls(torch.stack([voxels.sort().values for voxels in chosen]))

    @property
    def pairs(self) -> int:
        """Number P of pairs."""
        return len(self.positions)

    def __call__(self, draw: Draw) -> None:
        """Take in the fields of the chains that run."""
        while len(self._fields) < len(draw.alive):
            self._fields.append(_Chain())
            self._scalars.append({})
            self._transitions.append([])
        numbers = {"energy": draw.energies, **draw.scalars}
        numbers = {name: value.detach().cpu().double() for name, value in numbers.items()}
        for slot, field in draw.slots():
            places = self.positions[slot % self.pairs].to(field.device)
            self._fields[slot].append(field.flatten(1)[:, places])
            self._transitions[slot].append(draw.transition)
            for name, value in numbers.items():
                self._scalars[slot].setdefault(name, []).append(value[slot].item())

    def series(self, pair: int = 0) -> list[Tensor]:
        """The samples (n_c, D, V) of every chain of a pair; one that was stopped has fewer."""
        return [chain.samples() for chain in self._fields[pair :: self.pairs] if chain.count]

    def chains(self, pair: int = 0) -> Tensor:
        """The chains of a pair that were not stopped, (C, n, D, V), as diagnostics want them.

        Raises:
            CompositionError: no samples.
        """
        return _whole(self.series(pair))

    def samples(self, pair: int = 0) -> Tensor:
        """All samples of a pair, (n, D, V), chain after chain.

        Raises:
            CompositionError: no samples.
        """
        series = self.series(pair)
        return torch.cat(series) if series else _whole(series)

    def scalar_series(self, name: str, pair: int = 0) -> list[Tensor]:
        """A number, such as "energy", of every sample (n_c,) float64 of every chain of a pair.

        Raises:
            CompositionError: no such number.
        """
        chains = [each for each in self._scalars[pair :: self.pairs] if each]
        if any(name not in chain for chain in chains):
            known = ", ".join(sorted(set().union(*chains)))
            raise CompositionError(f"The samples have no number {name!r}; they have {known}.")
        return [torch.tensor(chain[name], dtype=torch.float64) for chain in chains]

    def scalar(self, name: str, pair: int = 0) -> Tensor:
        """A number of the chains that were not stopped, (C, n) float64.

        Raises:
            CompositionError: no samples, or no such number.
        """
        return _whole(self.scalar_series(name, pair))

    def transitions(self, pair: int = 0) -> list[Tensor]:
        """Number of the transition (n_c,) of every sample of every chain of a pair."""
        return [torch.tensor(chain) for chain in self._transitions[pair :: self.pairs] if chain]

    def state(self) -> dict[str, Any]:
        """Everything but the positions, as tensors and plain values."""
        return {
            "fields": [chain.samples() if chain.count else None for chain in self._fields],
            "scalars": self._scalars,
            "transitions": self._transitions,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        self._fields = [_Chain(chain) for chain in state["fields"]]
        self._scalars, self._transitions = copy.deepcopy((state["scalars"], state["transitions"]))


def _whole(series: list[Tensor]) -> Tensor:
    if not series:
        raise CompositionError("No sample was kept of this pair, so that there is nothing to diagnose.")
    longest = max(map(len, series))
    return torch.stack([chain for chain in series if len(chain) == longest])
