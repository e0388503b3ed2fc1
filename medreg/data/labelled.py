"""Single images of which only some subjects have labels that are used; the others may be trained on without."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch.utils.data import DataLoader

from medreg.data.few_labels import FewLabels
from medreg.data.images import ImageData
from medreg.data.records import Record
from medreg.data.split_sets import STAGES, UNLABELLED, Split
from medreg.data.structures_present import check_structures
from medreg.data.unlabelled_loader import StreamSampler, WithUnlabelled
from medreg.errors import ConfigError

logger = logging.getLogger(__name__)


class LabelledImageData(ImageData):
    """Single images with labels for segmentation, from few labelled and perhaps many unlabelled subjects.

    Training subjects without any label map are unlabelled, and so are those beyond `labelled`. Of an unlabelled
    subject no label map is ever opened. With `unlabelled_batch_size` above 0 every training batch holds `unlabelled`:
    a batch of their images. An epoch is one of the labelled images; the stream of unlabelled ones goes on through
    the epochs and depends on (seed, epoch) only.

    Args:
        *args: of `ImageData`.
        labelled: number of training subjects whose labels are used; None uses all.
        unlabelled: number of unlabelled subjects; None takes all that there are.
        unlabelled_batch_size: unlabelled images of a training batch, in every process; 0 loads none.
        **kwargs: of `ImageData`.
    """

    def __init__(
        self,
        *args: Any,
        labelled: int | None = None,
        unlabelled: int | None = None,
        unlabelled_batch_size: int = 0,
        **kwargs: Any,
    ) -> None:
        self.few = FewLabels(labelled, unlabelled)
        self.unlabelled_batch_size = unlabelled_batch_size
        super().__init__(*args, **kwargs)

    def _check(self) -> None:
        super()._check()
        if self.unlabelled_batch_size < 0:
            raise ConfigError(
                f"data.unlabelled_batch_size is {self.unlabelled_batch_size}; give a number of images, or 0 for none."
            )
        if self.few.labelled is not None and self.splitter.train_on_evaluation:
            raise ConfigError(
                f"data.labelled={self.few.labelled} and data.split.train_on_evaluation=true exclude each other; "
                "leave one of them out."
            )

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the sets that are loaded; the unlabelled one only where training asks for it."""
        return (*super().stages, UNLABELLED) if self.unlabelled_batch_size else super().stages

    def _divided(self, records: Sequence[Record]) -> Split:
        dataset, splitter = self.dataset, self.splitter
        split = splitter.assign(
            records,
            aliases=dataset.aliases(),
            splits=dataset.published_splits(),
            labelled=self.few.labelled,
        )
        if (
            not self.images.labelled and self.few.labelled is None
        ):  # images without a label map are trained on too
            with_labels = frozenset(split.train)
        else:
            with_labels = frozenset(
                record.subject for record in self.images.of(records) if record.label is not None
            )
        order = (splitter.seed, splitter.fold)
        found = self.few.drawn(split, order, with_labels=with_labels, fixed=splitter.named)
        if self.unlabelled_batch_size and not found.unlabelled:
            logger.warning(
                "data.unlabelled_batch_size=%d has no effect: no subject is unlabelled. data.labelled=N uses the "
                "labels of N training subjects only.",
                self.unlabelled_batch_size,
            )
        return found

    def _items_of(
        self, subjects: Sequence[str], stage: str, records: Sequence[Record]
    ) -> tuple[list[Any], list[Record]]:
        if stage != UNLABELLED:
            return super()._items_of(subjects, stage, records)
        names = frozenset(subjects)
        candidates = [record for record in records if record.subject in names and record.trainable]
        chosen = [record.without_labels() for record in replace(self.images, labelled=False).of(candidates)]
        return chosen, chosen

    @property
    def provides(self) -> frozenset[str]:
        """Batch keys that every training item has, and `unlabelled` where training batches hold it."""
        found = super().provides
        return found | {UNLABELLED} if self._streams() else found

    def _streams(self) -> bool:
        return UNLABELLED in self.stages and bool(self.items(UNLABELLED))

    def train_dataloader(self) -> Any:
        """Return batches of labelled images, with unlabelled ones where they are asked for and there are any.

        Raises:
            DataError: a structure of `data.labels` that is in no label map.
        """
        maps = (part for stage in STAGES for item in self.items(stage) for part in item.parts.values())
        check_structures(self._configured, maps)
        labelled = super().train_dataloader()
        return WithUnlabelled(labelled, self._stream(len(labelled))) if self._streams() else labelled

    def _stream(self, steps: int) -> DataLoader[Any]:
        dataset = self._dataset(UNLABELLED)
        replicas, rank = self._world()
        sampler = StreamSampler(
            dataset,
            seed=self.seed,
            shuffle=self.loader.shuffle,
            count=steps * self.unlabelled_batch_size,
            num_replicas=replicas,
            rank=rank,
        )
        return self._loader(dataset, sampler, batch_size=self.unlabelled_batch_size)
