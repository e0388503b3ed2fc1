"""Loaders that resume exactly, share cases among processes without repeating one, and count bad files."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.distributed import DistributedSampler

from medreg.data.images_dataset import SKIPPED, Access, readable
from medreg.data.sample import collate
from medreg.errors import ConfigError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoaderOptions:
    """How batches are made.

    Attributes:
        batch_size: items a training batch; evaluation always takes one case at a time.
        num_workers: processes that load; 0 loads in the main process.
        shuffle: new order of the training items in every epoch.
        drop_last: leave out the last, smaller training batch.
        pin_memory: page-locked batches for faster copies to a GPU.
        repeat: passes over the training items that count as one epoch.
    """

    batch_size: int
    num_workers: int
    shuffle: bool
    drop_last: bool
    pin_memory: bool
    repeat: int

    def __post_init__(self) -> None:
        """Refuse numbers that mean nothing.

        Raises:
            ConfigError: naming the option.
        """
        for name, least in (("batch_size", 1), ("repeat", 1), ("num_workers", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"data.loader.{name} is {getattr(self, name)}; it must be {least} or more.")


class EpochSampler(DistributedSampler):
    """Training order as a function of (seed, epoch); every process takes every k-th item.

    Lightning calls `set_epoch` with its own epoch counter, also after a resume, and leaves samplers of this
    base class as they are.

    Args:
        dataset: its length counts.
        seed: of the order.
        shuffle: new order each epoch.
        repeat: passes an epoch.
        num_replicas: number of processes.
        rank: this process.
    """

    def __init__(
        self, dataset: Dataset[Any], *, seed: int, shuffle: bool, repeat: int, num_replicas: int, rank: int
    ) -> None:
        super().__init__(dataset, num_replicas, rank, shuffle=shuffle, seed=seed)
        self.length = len(dataset) * repeat  # type: ignore[arg-type]

    def __len__(self) -> int:
        return -(-self.length // self.num_replicas)

    def __iter__(self) -> Iterator[Access]:
        order = np.arange(self.length)
        if self.shuffle:
            order = np.random.default_rng([self.seed, self.epoch]).permutation(self.length)
        # All processes must take the same number of steps, so the first items fill up the last round.
        padded = np.resize(order, len(self) * self.num_replicas)
        return (Access(self.epoch, int(index)) for index in padded[self.rank :: self.num_replicas])


class CaseSampler(DistributedSampler):
    """Evaluation order: every case once over all processes, in order, never repeated to fill up a round.

    Processes may get different numbers of cases; evaluation steps must therefore not synchronise inside a
    step.
    """

    def __init__(self, dataset: Dataset[Any], *, num_replicas: int, rank: int) -> None:
        super().__init__(dataset, num_replicas, rank, shuffle=False)
        self.total = len(dataset)  # type: ignore[arg-type]

    def __len__(self) -> int:
        return len(range(self.rank, self.total, self.num_replicas))

    def __iter__(self) -> Iterator[Access]:
        # Epoch 0 always: evaluation looks at the same slices every time.
        return (Access(0, index) for index in range(self.rank, self.total, self.num_replicas))


def collate_readable(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Collate the items that hold a sample and carry along what was skipped."""
    skipped = [name for item in items for name in item.get(SKIPPED, [])]
    samples = [{k: v for k, v in item.items() if k != SKIPPED} for item in items if readable(item)]
    batch = collate(samples) if samples else {}
    return {**batch, SKIPPED: skipped} if skipped else batch


class CountingLoader(DataLoader):
    """A DataLoader that takes the reports of unreadable files out of its batches and counts them.

    Args:
        *args: of DataLoader.
        left_out: set to which the reports are added, in the main process.
        **kwargs: of DataLoader.
    """

    def __init__(self, *args: Any, left_out: dict[str, int] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.left_out = {} if left_out is None else left_out

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        for batch in super().__iter__():
            for message in batch.pop(SKIPPED, ()):
                if message not in self.left_out:
                    logger.warning("Left out: %s", message)
                self.left_out[message] = self.left_out.get(message, 0) + 1
            if readable(batch):
                yield batch
