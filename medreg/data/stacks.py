"""Prepared stacks of 2-D training, kept in memory so that a sample is no more than a choice of slices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils.data import get_worker_info

from medreg.data.records import Item


@dataclass(frozen=True)
class PreparedStack:
    """All slices of a prepared item.

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
    """Stacks of a training set by the name of their item.

    Preparing a pair costs as much as a sixth of a small network's step, and chance only chooses its slices. Kept
    where the images are kept too: worker processes prepare beside the training and would each hold a copy, and
    pairs more numerous than images, as of all subjects with all, would take more memory than the images.

    Args:
        items: of the training set.
        images: number of images that are kept in memory; 0 keeps no stack either.
    """

    def __init__(self, items: Sequence[Item], *, images: int) -> None:
        few = len({item.id for item in items}) <= images
        self._known = frozenset(items) if few else frozenset()
        self._stacks: dict[str, PreparedStack] = {}

    def takes(self, item: Item) -> bool:
        """Whether this process keeps the item: one of the set, not one that was just drawn."""
        return item in self._known and get_worker_info() is None

    def get(self, item: Item, make: Callable[[], PreparedStack]) -> PreparedStack:
        """Return the stack of an item, made at the first call."""
        if item.id not in self._stacks:
            self._stacks[item.id] = make()
        return self._stacks[item.id]
