"""Batches of labelled images, each with a batch of unlabelled ones from a stream that goes on through the epochs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.distributed import DistributedSampler

from medreg.data.images_dataset import Access
from medreg.data.split_sets import UNLABELLED
from medreg.errors import DataError


class StreamSampler(DistributedSampler):
    """A part of an endless order of the items as a function of (seed, epoch); processes take turns.

    The order is one shuffle of all items after the other. An epoch takes as many as it needs, and the next one goes on
    from there, so that every item is seen equally often however short an epoch is.

    Args:
        dataset: its length counts.
        seed: of the order.
        shuffle: whether there is one; else the items in turn.
        count: items of an epoch in each process.
        num_replicas: number of processes.
        rank: this process.
    """

    def __init__(
        self, dataset: Dataset[Any], *, seed: int, shuffle: bool, count: int, num_replicas: int, rank: int
    ) -> None:
        super().__init__(dataset, num_replicas, rank, shuffle=shuffle, seed=seed)
        self.items = len(dataset)  # type: ignore[arg-type]
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Access]:
        start = self.epoch * self.count * self.num_replicas + self.rank
        current, order = -1, np.arange(self.items)
        for place in range(start, start + self.count * self.num_replicas, self.num_replicas):
            number, position = divmod(place, self.items)
            if number != current and self.shuffle:
                order = np.random.default_rng([self.seed, number]).permutation(self.items)
            current = number
            # The number of the shuffle stands for the epoch, so that an item shows another slice each time.
            yield Access(number, int(order[position]))


class WithUnlabelled:
    """Labelled batches that hold a batch of unlabelled images under the key `unlabelled`; as many as are labelled.

    Args:
        labelled: its sampler knows the epoch.
        unlabelled: gives at least as many batches; its sampler is told the epoch.
    """

    def __init__(self, labelled: DataLoader[Any], unlabelled: DataLoader[Any]) -> None:
        self.labelled = labelled
        self.unlabelled = unlabelled
        self.sampler: Any = labelled.sampler  # Lightning tells it the epoch
        self.dataset = labelled.dataset
        self.batch_size = labelled.batch_size

    def __len__(self) -> int:
        return len(self.labelled)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        sampler: Any = self.unlabelled.sampler
        sampler.set_epoch(self.sampler.epoch)
        stream = iter(self.unlabelled)
        for batch in self.labelled:
            more = next(stream, None)
            if more is None:
                raise DataError(
                    "None of the unlabelled images can be read any more. Mend the files, or set "
                    "data.unlabelled_batch_size=0."
                )
            yield {**batch, UNLABELLED: more}
