"""Prepared stacks of 2-D training, kept in memory so that a sample is no more than a choice of slices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils.data import get_worker_info

from medreg.data.records import Pair


@dataclass(frozen=True)
class Stack:
    """All slices of a prepared pair.

    Attributes:
        arrays: by batch key, each (slices, ...).
        candidates: slices that the policy allows.
    """

    arrays: dict[str, Tensor]
    candidates: list[int]

    def pick(self, slices: Sequence[int]) -> dict[str, Any]:
        """Return the given slices in their order; a single one is a view, which collating copies."""
        if len(slices) == 1:
            return {key: array.narrow(0, slices[0], 1) for key, array in self.arrays.items()}
        return {key: array[list(slices)] for key, array in self.arrays.items()}


class KeptStacks:
    """Stacks of a training set by the name of their pair.

    Preparing a pair costs as much as a sixth of a small network's step, and chance only chooses its slices. Kept
    where the images are kept too: worker processes prepare beside the training and would each hold a copy, and
    pairs more numerous than images, as of all subjects with all, would take more memory than the images.

    Args:
        pairs: of the training set.
        images: number of images that are kept in memory; 0 keeps no stack either.
    """

    def __init__(self, pairs: Sequence[Pair], *, images: int) -> None:
        few = len({pair.id for pair in pairs}) <= images
        self._known = frozenset(pairs) if few else frozenset()
        self._stacks: dict[str, Stack] = {}

    def takes(self, pair: Pair) -> bool:
        """Whether this process keeps the pair: one of the set, not one that was just drawn."""
        return pair in self._known and get_worker_info() is None

    def get(self, pair: Pair, make: Callable[[], Stack]) -> Stack:
        """Return the stack of a pair, made at the first call."""
        if pair.id not in self._stacks:
            self._stacks[pair.id] = make()
        return self._stacks[pair.id]
