"""Single images of one contrast to learn a distance from, and the contrasts of a person as pairs to judge it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from medreg.data.failures import CorruptFile
from medreg.data.images_dataset import Access, ImageDataset
from medreg.data.pairs import RegistrationData
from medreg.data.records import Pair, Record
from medreg.data.sample import CONTRACTS
from medreg.data.slices import Slices
from medreg.errors import DataError


class ContrastData(RegistrationData):
    """The images of a data set that are of the kind of its fixed images, contrast and phase, each by itself.

    Training batches hold `image` (N, 1, *S). Validation pairs every image with itself.
    Test cases pair it with itself and with every other contrast of the same person at the same time, aligned as
    stored: contrasts that training has never seen.

    Slices of all training images are made once and kept in memory (4 bytes a pixel); volumes are made when asked for.

    Args:
        *args: of `RegistrationData`.
        least_foreground: share of voxels that must be brighter than a fiftieth of the brightest one, for a slice to be
            trained on; sections with little in them have no clear pose.
        **kwargs: of `RegistrationData`.
    """

    def __init__(self, *args: Any, least_foreground: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.least_foreground = least_foreground

    def _items_of(
        self, subjects: Sequence[str], stage: str, records: Sequence[Record]
    ) -> tuple[list[Any], list[Record]]:
        everyone = sorted({record.subject for record in records})
        pairs, _ = super()._items_of(everyone, "test", records)
        kinds = {(pair.fixed.modality, pair.fixed.phase) for pair in pairs}
        names = frozenset(subjects)
        chosen = [record for record in records if record.subject in names]
        fixed = [record for record in chosen if (record.modality, record.phase) in kinds]
        if stage == "train":
            return [record for record in fixed if record.trainable], chosen
        if stage == "val":
            return [Pair(record, record) for record in fixed], chosen
        return [Pair(record, other) for record in fixed for other in _contrasts(record, chosen)], chosen

    @property
    def provides(self) -> frozenset[str]:
        """Keys of the evaluated pairs, and `image` of training."""
        pairs = self.pairs("val") or self.pairs("test")
        always = frozenset(CONTRACTS[self.kind].always)
        return always | (self._perhaps(pairs) if pairs else frozenset()) | {"image"}

    def _read(self, items: Sequence[Any], stage: str, **options: Any) -> Any:
        return ImageDataset(items, **options) if stage == "train" else super()._read(items, stage, **options)

    def train_dataloader(self) -> DataLoader[Any]:
        """Return batches of single images in an order that depends on (seed, epoch) only.

        Raises:
            DataError: no slice shows enough.
        """
        if self.slices is None:
            return super().train_dataloader()
        dataset, options = ImageBank(self._slices(self.slices)), self.loader
        return DataLoader(
            dataset,
            batch_size=options.batch_size,
            sampler=self._sampler(dataset),
            drop_last=options.drop_last,
            num_workers=options.num_workers,
            pin_memory=options.pin_memory,
            persistent_workers=options.num_workers > 0,
            collate_fn=_as_is,
        )

    def _slices(self, policy: Slices) -> Tensor:
        """Slices of all training images that show enough, (M, 1, X, Y)."""
        dataset = self._dataset("train")
        kept = []
        for record in dataset.items:
            try:
                slices = dataset.stack(record, policy).arrays["image"]
            except CorruptFile as error:
                if self.on_corrupt == "error":
                    raise
                self.left_out[str(error)] = self.left_out.get(str(error), 0) + 1
                continue
            share = (slices > 0.02 * slices.amax()).flatten(1).float().mean(1)
            kept.append(slices[share >= self.least_foreground])
        if not sum(len(slices) for slices in kept):
            raise DataError(
                f"No training slice has a foreground of {self.least_foreground:.0%}; lower "
                "data.least_foreground."
            )
        return torch.cat(kept)


class ImageBank(Dataset[Any]):
    """Images in one tensor, a batch by one index.

    Args:
        images: (M, 1, *S).
    """

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitems__(self, accesses: Sequence[Access]) -> dict[str, Any]:
        """Return a batch."""
        return {"image": self.images[[access.index % len(self) for access in accesses]]}


def _contrasts(record: Record, records: Sequence[Record]) -> list[Record]:
    """The record itself and the others of the same person and phase."""
    others = [
        r for r in records if r.subject == record.subject and r.phase == record.phase and r is not record
    ]
    return [record, *others]


def _as_is(batch: Any) -> Any:
    return batch
