"""The data module: a data set, a pairing, a split and a preparation become three loaders of one contract."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from torch.utils.data import DataLoader

from medreg.data.datasets.base import DataSource
from medreg.data.loader import CaseSampler, CountingLoader, EpochSampler, LoaderOptions, collate_readable
from medreg.data.loading import record_item, truth_item
from medreg.data.pairing import Pairing
from medreg.data.pairs_dataset import PairDataset
from medreg.data.preprocess import Preprocess
from medreg.data.provenance import hash_files, hash_settings, write_inventory
from medreg.data.records import Pair, Record
from medreg.data.sample import ALWAYS
from medreg.data.slices import Slices
from medreg.data.splits import STAGES, Split, SubjectSplit, kept_by, repeat_to
from medreg.data.store import Cache, RecordStore
from medreg.errors import CompositionError, ConfigError, DataError
from medreg.io.image import read_labels

logger = logging.getLogger(__name__)


class RegistrationData(pl.LightningDataModule):
    """Pairs of images for training, validation and test.

    Args:
        dataset: the data set on disk.
        pairing: which image is registered to which.
        split: which subject serves for what.
        preprocess: preparation of images.
        slices: slice policy for 2-D registration of stacks; None for volumes.
        loader: batches and workers.
        cache: where loaded images are kept.
        ndim: 2 or 3, dimensions of the samples.
        labels: structure → code; None takes what the data set states or its label maps hold.
        seed: of everything random in loading.
        limit_train_fraction: share of the training subjects that is used (GraDIRN).
        on_corrupt: "error" stops at an unreadable file, "skip" leaves the pair out and counts it.
    """

    def __init__(
        self,
        dataset: DataSource,
        pairing: Pairing,
        split: SubjectSplit,
        preprocess: Preprocess,
        slices: Slices | None,
        loader: LoaderOptions,
        cache: Cache,
        *,
        ndim: int,
        labels: Mapping[str, int] | None,
        seed: int,
        limit_train_fraction: float = 1.0,
        on_corrupt: str = "error",
    ) -> None:
        super().__init__()
        self.dataset = dataset
        self.pairing = pairing
        self.splitter = split
        self.preprocess = preprocess
        self.slices = slices
        self.loader = loader
        self.cache = cache
        self.ndim = ndim
        self.seed = seed
        self.limit_train_fraction = limit_train_fraction
        self.on_corrupt = on_corrupt
        self.left_out: dict[str, int] = {}
        self._configured = dict(labels or {})
        self._labels = self._configured or None
        self._scored: frozenset[str] = frozenset()
        self._split: Split | None = None
        self._sets: dict[str, tuple[list[Pair], list[Record]]] = {}
        self._stores: dict[str, RecordStore] = {}
        self._check()

    def _check(self) -> None:
        if (self.ndim, self.slices is None) not in ((2, False), (3, True)):
            raise CompositionError(
                f"data.ndim={self.ndim} does not fit "
                f"data.slices={'null' if self.slices is None else 'a slice policy'}: "
                "2-D registration of stacks needs slices, 3-D registration needs data.slices=null."
            )
        if self.ndim == 2 and self.preprocess.orientation != "stored":
            raise CompositionError("data.preprocess.orientation=ras is for volumes; slices stay as stored.")
        if self.on_corrupt not in ("error", "skip"):
            raise ConfigError(f"data.on_corrupt is {self.on_corrupt!r}; choose error or skip.")

    # -- what is where -----------------------------------------------------------------------------

    def prepare_data(self) -> None:
        """Write a generated data set; nothing for real data. Lightning calls this in one process only."""
        self.dataset.ensure()

    def setup(self, stage: str | None = None) -> None:
        """Find records, divide them and build the pairs; cheap, reads no image.

        Raises:
            DatasetNotFound: the data set is not there.
            DataError: its layout or the split is not in order.
        """
        if self._split is not None:
            return
        self.dataset.ensure()
        records = self.dataset.records()
        listed = self.dataset.listed_pairs(records)
        split = self.splitter.assign(records, aliases=self.dataset.aliases())
        for name in STAGES:
            self._sets[name] = self._build(name, split, records, listed)
        self._split = split

    def _build(
        self, stage: str, split: Split, records: Sequence[Record], listed: Sequence[Pair]
    ) -> tuple[list[Pair], list[Record]]:
        subjects = list(split.subjects(stage))
        used = subjects
        if stage == "train" and self.limit_train_fraction != 1:
            used = kept_by(subjects, self.limit_train_fraction)
        pairs, chosen = self._pairs_of(used, stage, records, listed)
        if len(used) < len(subjects):
            pairs = repeat_to(pairs, len(self._pairs_of(subjects, stage, records, listed)[0]))
        return pairs, chosen

    def _pairs_of(
        self, subjects: Sequence[str], stage: str, records: Sequence[Record], listed: Sequence[Pair]
    ) -> tuple[list[Pair], list[Record]]:
        names = frozenset(subjects) | self.pairing.shared_subjects if subjects else frozenset()
        chosen = [record for record in records if record.subject in names]
        training = stage == "train"
        named = [p for p in listed if p.subjects <= names and not (training and p.evaluation)]
        pairs = self.pairing.pairs(chosen, listed=named, training=training) if chosen else []
        return [replace(p, truth=p.truth or self.dataset.truth(p.fixed, p.moving)) for p in pairs], chosen

    @property
    def split(self) -> Split:
        """Subjects of each set."""
        self.setup()
        assert self._split is not None
        return self._split

    def pairs(self, stage: str) -> list[Pair]:
        """Return the pairs of "train", "val" or "test"."""
        self.setup()
        pairs = self._sets[stage][0]
        return [pair for pair in pairs if pair.id not in self._scored] if stage == "test" else pairs

    def skip_cases(self, cases: Collection[str]) -> None:
        """Leave out test cases that an interrupted evaluation has scored already."""
        self._scored = frozenset(cases)

    def save_inventory(self, path: str | Path) -> Path:
        """Write id, size, spacing, axes and type of every image, as its header says."""
        records = {r.id: r for stage in STAGES for p in self.pairs(stage) for r in (p.fixed, p.moving)}
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
        pairs = self.pairs("test") or self.pairs("val") or self.pairs("train")
        files = {(r.label, r.label_frame) for p in pairs for r in (p.fixed, p.moving) if r.label is not None}
        codes = {int(c) for file, frame in files for c in np.unique(read_labels(file, frame=frame).array)}
        return {f"label{code}": code for code in sorted(codes - {0})}

    @property
    def provides(self) -> frozenset[str]:
        """Batch keys that every training pair has, or every test pair where nothing is trained on."""
        self.setup()
        pairs = next((self.pairs(stage) for stage in STAGES if self.pairs(stage)), [])
        keys = set(ALWAYS)
        for name in ("label", "mask", "keypoints", "more_keypoints"):
            for side in ("fixed", "moving"):
                if pairs and all(getattr(getattr(pair, side), name) is not None for pair in pairs):
                    keys.add(f"{side}_{name}")
        if self.ndim == 2:
            keys = {key for key in keys if not key.endswith("_keypoints")}
        if pairs and all(pair.truth is not None for pair in pairs):
            keys.add("displacement")
        return frozenset(keys)

    def fingerprint(self) -> dict[str, Any]:
        """Return what identifies the data: counts, and hashes of names and sizes, times, settings."""
        self.setup()
        return {
            "dataset": type(self.dataset).__name__,
            **hash_files(self._files(), self.dataset.root),
            "preprocess": hash_settings(self.preprocess.as_dict()),
            "pairs": {stage: len(self.pairs(stage)) for stage in STAGES},
        }

    def _files(self) -> set[Path]:
        files: set[Path] = set()
        for stage in STAGES:
            pairs, records = self._sets[stage]
            files.update(file for record in records for file in record.files)
            files.update(pair.truth for pair in pairs if pair.truth is not None)
        return files

    # -- loaders -----------------------------------------------------------------------------------

    def train_dataloader(self) -> DataLoader[Any]:
        """Return batches of training pairs in an order that depends on (seed, epoch) only."""
        dataset = self._dataset("train")
        replicas, rank = self._world()
        options = self.loader
        sampler = EpochSampler(
            dataset,
            seed=self.seed,
            shuffle=options.shuffle,
            repeat=options.repeat,
            num_replicas=replicas,
            rank=rank,
        )
        drop_last = options.drop_last and len(sampler) >= options.batch_size
        return self._loader(dataset, sampler, batch_size=options.batch_size, drop_last=drop_last)

    def val_dataloader(self) -> DataLoader[Any]:
        """Return validation cases, one a batch; an empty list where there are none."""
        return self._evaluation("val")

    def test_dataloader(self) -> DataLoader[Any]:
        """Return test cases, one a batch."""
        return self._evaluation("test")

    def _evaluation(self, stage: str) -> DataLoader[Any]:
        if not self.pairs(stage) and stage == "val":
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
        self, dataset: PairDataset, sampler: Any, *, batch_size: int, drop_last: bool = False
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

    def _dataset(self, stage: str) -> PairDataset:
        pairs = self.pairs(stage)
        if not pairs:
            raise DataError(self._nothing(stage))
        records = self._sets[stage][1]
        return PairDataset(
            pairs,
            records,
            store=self._store(stage),
            preprocess=self.preprocess,
            slices=self.slices,
            pairing=self.pairing,
            truth=self.dataset.truth,
            codes=tuple(self.labels.values()),
            seed=self.seed,
            training=stage == "train",
            skip_corrupt=self.on_corrupt == "skip",
            keep=self.cache.kind == "memory",
        )

    def _store(self, stage: str) -> RecordStore:
        if stage not in self._stores:
            pairs, records = self._sets[stage]
            needed = dict.fromkeys(record for pair in pairs for record in (pair.fixed, pair.moving))
            # Partners may be drawn from everything that looks like a moving image.
            kinds = (
                {(pair.moving.modality, pair.moving.phase) for pair in pairs} if stage == "train" else set()
            )
            needed.update(dict.fromkeys(r for r in records if (r.modality, r.phase) in kinds))
            items = [record_item(record) for record in needed]
            items += [truth_item(path) for path in sorted({p.truth for p in pairs if p.truth is not None})]
            codes = self._known_codes()
            key = {**self.preprocess.cache_key(), "codes": sorted(codes)}
            self._stores[stage] = RecordStore(
                items, self.preprocess.transform(codes), cache=self.cache, key=key
            )
        return self._stores[stage]

    def _nothing(self, stage: str) -> str:
        counts = ", ".join(f"{len(self.split.subjects(name))} {name}" for name in STAGES)
        return (
            f"{self.dataset.title} in {self.dataset.root} has no {stage} pairs (subjects: {counts}). Change "
            "data.split "
            "(val, test: fractions; published=false ignores the published sets; file=CSV) or "
            "data.pairing, or "
            "choose a mode that needs no such pairs."
        )

    def _world(self) -> tuple[int, int]:
        """Number of processes and rank of this one."""
        trainer = self.trainer
        return (1, 0) if trainer is None else (trainer.world_size, trainer.global_rank)
