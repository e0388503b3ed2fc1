"""The data module: images of a data set, a split and a preparation become three loaders of one contract."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytorch_lightning as pl
from monai.transforms.compose import Compose
from torch.utils.data import DataLoader

from medreg.data.contents import FileMarks, contents_of
from medreg.data.covariates import Covariates
from medreg.data.datasets.base import DataSource
from medreg.data.found_labels import found_labels
from medreg.data.images_dataset import ImageDataset
from medreg.data.loader import CaseSampler, CountingLoader, EpochSampler, LoaderOptions, collate_readable
from medreg.data.loading import LoadRecord, ToPlain, record_item
from medreg.data.preprocess import Preprocess
from medreg.data.provenance import hash_files, hash_settings, write_inventory
from medreg.data.records import Record
from medreg.data.sample import CONTRACTS
from medreg.data.selection import ImageSelection
from medreg.data.slices import Slices
from medreg.data.split_sets import STAGES, Split
from medreg.data.splits import SubjectSplit, kept_by, repeat_to
from medreg.data.store import Cache, RecordStore
from medreg.errors import CompositionError, ConfigError, DataError

logger = logging.getLogger(__name__)
OPTIONAL = ("label", "mask", "keypoints", "more_keypoints")  # what a record may have and a batch then has


class ImageData(pl.LightningDataModule):
    """Single images for training, validation and test, with labels and covariates where the data set has them.

    Pairs and sequences are made of the same images: a subclass says what the items of a split are (`_items_of`),
    how they are read (`_read`) and what of a data set is needed for it (`_needed`).

    Args:
        dataset: the data set on disk.
        split: which subject serves for what.
        preprocess: preparation of images.
        slices: slice policy for 2-D work on stacks; None for volumes.
        loader: batches and workers.
        cache: where loaded images are kept.
        ndim: 2 or 3, dimensions of the samples.
        labels: structure → code; None takes what the data set states or its label maps hold.
        seed: of everything random in loading.
        images: which images of the data set take part; None takes all.
        limit_train_fraction: share of the training subjects that is used (GraDIRN).
        on_corrupt: "error" stops at an unreadable file, "skip" leaves the item out and counts it.
    """

    kind: ClassVar[str] = "images"  # of items: a contract of `data.sample`, and the word of messages
    chosen_by: ClassVar[str] = "data.images"  # option that decides what the items are
    every_item: ClassVar[bool] = (
        False  # whether what an item holds, not its grid alone, decides if it can be used
    )

    def __init__(
        self,
        dataset: DataSource,
        split: SubjectSplit,
        preprocess: Preprocess,
        slices: Slices | None,
        loader: LoaderOptions,
        cache: Cache,
        *,
        ndim: int,
        labels: Mapping[str, int] | None,
        seed: int,
        images: ImageSelection | None = None,
        limit_train_fraction: float = 1.0,
        on_corrupt: str = "error",
    ) -> None:
        super().__init__()
        self.dataset = dataset
        self.splitter = split
        self.preprocess = preprocess
        self.slices = slices
        self.loader = loader
        self.cache = cache
        self.ndim = ndim
        self.seed = seed
        self.images = images or ImageSelection()
        self.limit_train_fraction = limit_train_fraction
        self.on_corrupt = on_corrupt
        self.left_out: dict[str, int] = {}
        self._configured = dict(labels or {})
        self._labels = self._configured or None
        self._scored: frozenset[str] = frozenset()
        self._split: Split | None = None
        self._covariates = Covariates(())
        self._sets: dict[str, tuple[list[Any], list[Record]]] = {}
        self._stores: dict[str, RecordStore] = {}
        self._contents: dict[str, dict[str, dict[str, str]]] | None = None
        self._check()

    def _check(self) -> None:
        if (self.ndim, self.slices is None) not in ((2, False), (3, True)):
            raise CompositionError(
                f"data.ndim={self.ndim} does not fit "
                f"data.slices={'null' if self.slices is None else 'a slice policy'}: "
                "2-D work on stacks needs slices, 3-D work needs data.slices=null."
            )
        if self.preprocess.orientation == ("ras" if self.ndim == 2 else "slices"):
            raise CompositionError(
                f"data.preprocess.orientation={self.preprocess.orientation} is for "
                f"{'volumes; choose stored or slices' if self.ndim == 2 else 'slices; choose stored or ras'}."
            )
        if self.on_corrupt not in ("error", "skip"):
            raise ConfigError(f"data.on_corrupt is {self.on_corrupt!r}; choose error or skip.")

    # -- what is where -----------------------------------------------------------------------------

    def prepare_data(self) -> None:
        """Write a generated data set; nothing for real data. Lightning calls this in one process only."""
        self.dataset.ensure()

    def setup(self, stage: str | None = None) -> None:
        """Find records, divide them and build the items; cheap, reads no image.

        Raises:
            DatasetNotFound: the data set is not there.
            DataError: its layout or the split is not in order.
        """
        if self._split is not None:
            return
        self.dataset.ensure()
        records = self.dataset.records()
        split = self._divided(records)
        self._look_through(records)
        for stage in self.stages:
            subjects = list(split.subjects(stage))
            used = subjects
            if stage == "train" and self.limit_train_fraction != 1:
                used = kept_by(subjects, self.limit_train_fraction)
            items, chosen = self._items_of(used, stage, records)
            if len(used) < len(subjects):  # as many steps as with all of them
                items = repeat_to(items, len(self._items_of(subjects, stage, records)[0]))
            self._sets[stage] = (items, chosen)
        self._split = split

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the sets that are loaded."""
        return STAGES

    def _divided(self, records: Sequence[Record]) -> Split:
        """Return the subjects of each set."""
        dataset = self.dataset
        return self.splitter.assign(records, aliases=dataset.aliases(), splits=dataset.published_splits())

    def _look_through(self, records: Sequence[Record]) -> None:
        """Note what concerns the whole data set before it is divided."""
        self._covariates = Covariates(records)

    def _items_of(
        self, subjects: Sequence[str], stage: str, records: Sequence[Record]
    ) -> tuple[list[Any], list[Record]]:
        """Return the items of some subjects in a fixed order, and the records they are made of."""
        names = frozenset(subjects)
        chosen = self.images.of([record for record in records if record.subject in names])
        return [record for record in chosen if record.trainable or stage != "train"], chosen

    @property
    def split(self) -> Split:
        """Subjects of each set."""
        self.setup()
        assert self._split is not None
        return self._split

    def items(self, stage: str) -> list[Any]:
        """Return the items (`records.Item`) of "train", "val" or "test"; those of test without the scored ones."""
        self.setup()
        items = self._sets[stage][0]
        return [item for item in items if item.id not in self._scored] if stage == "test" else items

    @property
    def categories(self) -> Mapping[str, tuple[str, ...]]:
        """Covariate that is a category → its values in the order of the codes in batches."""
        self.setup()
        return self._covariates.categories

    def skip_cases(self, cases: Collection[str]) -> None:
        """Leave out test cases that an interrupted evaluation has scored already."""
        self._scored = frozenset(cases)

    def save_inventory(self, path: str | Path) -> Path:
        """Write id, size, spacing, axes and type of every image, as its header says."""
        records = {
            r.id: r for stage in self.stages for item in self.items(stage) for r in item.parts.values()
        }
        return write_inventory(records.values(), path)

    def save_split(self, path: str | Path) -> Path:
        """Write the subjects of each set as CSV."""
        return self.split.save(path)

    @property
    def labels(self) -> dict[str, int]:
        """Structure → code: as configured, else as the data set states, else as found in label maps."""
        if self._labels is None:
            self.setup()
            self._labels = self.dataset.labels() or self._found_labels()
        return self._labels

    def _known_codes(self) -> tuple[int, ...]:
        """Codes that a label map may hold; none where the structures were only found in some of the maps."""
        stated = self._configured or self.dataset.labels()
        return tuple(stated.values())

    def _found_labels(self) -> dict[str, int]:
        items = next((found for stage in ("test", "val", "train") if (found := self.items(stage))), [])
        return found_labels(record for item in items for record in item.parts.values())

    @property
    def provides(self) -> frozenset[str]:
        """Batch keys that every training item has, or every test item where nothing is trained on."""
        self.setup()
        items = next((found for stage in STAGES if (found := self.items(stage))), [])
        return frozenset(CONTRACTS[self.kind].always) | (self._perhaps(items) if items else frozenset())

    def _perhaps(self, items: Sequence[Any]) -> frozenset[str]:
        """Keys beyond those of the contract that all of some items have."""
        parts = [item.parts for item in items]
        keys = {
            f"{part}{name}"
            for part in parts[0]
            for name in OPTIONAL
            if not (self.ndim == 2 and "keypoints" in name)
            and all(getattr(found[part], name) is not None for found in parts)
        }
        return frozenset(keys | {"covariates"} if self._covariates else keys)

    def contents(self) -> dict[str, dict[str, dict[str, str]]]:
        """Return stage → case → kind of file → mark of its content, see `data.contents`."""
        self.setup()
        if self._contents is None:
            marks = FileMarks()
            self._contents = {stage: contents_of(self._sets[stage][0], marks) for stage in self.stages}
            marks.save()
        return self._contents

    def fingerprint(self) -> dict[str, Any]:
        """Return what identifies the data: counts, and hashes of names and sizes, times, contents, settings.

        `content` has a hash for each set: of its cases and of what their files hold.
        """
        self.setup()
        found = {
            "dataset": type(self.dataset).__name__,
            **hash_files(self._files(), self.dataset.root),
            "content": {stage: hash_settings(cases) for stage, cases in self.contents().items()},
            "preprocess": hash_settings(self.preprocess.as_dict()),
            self.kind: {stage: len(self.items(stage)) for stage in self.stages},
        }
        if self._covariates:
            told = {record.id: record.covariates for _, records in self._sets.values() for record in records}
            found["covariates"] = hash_settings(told)
        return found

    def _files(self) -> set[Path]:
        files: set[Path] = set()
        for items, records in self._sets.values():
            files.update(file for record in records for file in record.files)
            files.update(file for item in items for file in item.beside)
        return files

    # -- loaders -----------------------------------------------------------------------------------

    def train_dataloader(self) -> DataLoader[Any]:
        """Return batches of training items in an order that depends on (seed, epoch) only."""
        dataset = self._dataset("train")
        sampler = self._sampler(dataset)
        size = self.loader.batch_size
        drop_last = self.loader.drop_last and len(sampler) >= size
        return self._loader(dataset, sampler, batch_size=size, drop_last=drop_last)

    def _sampler(self, dataset: Any) -> EpochSampler:
        replicas, rank = self._world()
        return EpochSampler(
            dataset,
            seed=self.seed,
            shuffle=self.loader.shuffle,
            repeat=self.loader.repeat,
            num_replicas=replicas,
            rank=rank,
        )

    def val_dataloader(self) -> DataLoader[Any]:
        """Return validation cases, one a batch; an empty list where there are none."""
        return self._evaluation("val")

    def test_dataloader(self) -> DataLoader[Any]:
        """Return test cases, one a batch."""
        return self._evaluation("test")

    def _evaluation(self, stage: str) -> DataLoader[Any]:
        if not self.items(stage) and stage == "val":
            return []  # type: ignore[return-value]
        dataset = self._dataset(stage)
        replicas, rank = self._world()
        if len(dataset) < replicas:
            raise CompositionError(
                f"{replicas} processes cannot share {len(dataset)} {stage} cases without repeating one. "
                f"Use at most {len(dataset)} devices, or a larger data.split.{stage}."
            )
        return self._loader(dataset, CaseSampler(dataset, num_replicas=replicas, rank=rank), batch_size=1)

    def _loader(
        self, dataset: Any, sampler: Any, *, batch_size: int, drop_last: bool = False
    ) -> DataLoader[Any]:
        workers = self.loader.num_workers
        if workers and self.cache.kind == "memory":
            dataset.store.warm()
        return CountingLoader(
            dataset,
            batch_size=batch_size,
            sampler=sampler,
            drop_last=drop_last,
            num_workers=workers,
            pin_memory=self.loader.pin_memory,
            persistent_workers=workers > 0,
            collate_fn=collate_readable,
            left_out=self.left_out,
        )

    def load(self, record: Record) -> Mapping[str, Any]:
        """Return image, label map, mask and points of a record as its files hold them, checked as for training.

        Raises:
            CorruptFile: a file cannot be read or does not fit the others.
        """
        steps = [LoadRecord(self._known_codes()), ToPlain()]
        return RecordStore([], Compose(steps), cache=Cache("none", ""), key={})[record_item(record)]

    def oddities(self) -> Iterable[tuple[str, str, str]]:
        """Return kind, sentence and item of what was odd in the items loaded so far; nothing for images."""
        return ()

    def samples(self, stage: str) -> Any:
        """Return the samples of a set, by position, as its loader gives them."""
        return self._dataset(stage)

    def _dataset(self, stage: str) -> Any:
        if not self.items(stage):
            raise DataError(self._nothing(stage))
        return self._read(
            self.items(stage),
            stage,
            store=self._store(stage),
            preprocess=self.preprocess,
            slices=self.slices,
            codes=tuple(self.labels.values()),
            covariates=self._covariates,
            seed=self.seed,
            training=stage not in ("val", "test"),
            skip_corrupt=self.on_corrupt == "skip",
            keep=self.cache.kind == "memory",
        )

    def _read(self, items: Sequence[Any], stage: str, **options: Any) -> Any:
        """Return the samples of some items; `options` are those of `ItemDataset`."""
        return ImageDataset(items, **options)

    def _needed(self, stage: str) -> list[dict[str, Any]]:
        """Return the descriptions of what a stage loads."""
        records = dict.fromkeys(record for item in self.items(stage) for record in item.parts.values())
        return [record_item(record) for record in records]

    def _store(self, stage: str) -> RecordStore:
        if stage not in self._stores:
            codes = self._known_codes()
            key = {**self.preprocess.cache_key(), "codes": sorted(codes)}
            transform = self.preprocess.transform(codes)
            self._stores[stage] = RecordStore(
                self._needed(stage), transform, cache=self._cache_of(stage), key=key
            )
        return self._stores[stage]

    def _cache_of(self, stage: str) -> Cache:
        """Return where the images of a stage are kept."""
        return self.cache

    def _nothing(self, stage: str) -> str:
        counts = ", ".join(f"{len(self.split.subjects(name))} {name}" for name in STAGES)
        return (
            f"{self.dataset.title} in {self.dataset.root} has no {stage} {self.kind} (subjects: {counts}). Change "
            "data.split (val, test: fractions; published=false ignores the published sets; file=CSV) or "
            f"{self.chosen_by}, or choose a mode that needs no such {self.kind}."
        )

    def _world(self) -> tuple[int, int]:
        """Number of processes and rank of this one."""
        trainer = self.trainer
        return (1, 0) if trainer is None else (trainer.world_size, trainer.global_rank)
