"""Hearts as label maps over the cardiac cycle, on one grid, with what is told of the people."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import torch
from monai.transforms.compose import Compose
from torch import Tensor

from medreg.data.covariates import Covariates
from medreg.data.datasets.base import DataSource
from medreg.data.hearts import Heart, first_visits, heart_item, hearts_of, with_later
from medreg.data.images import ImageData
from medreg.data.loader import LoaderOptions
from medreg.data.preprocess import Preprocess
from medreg.data.provenance import hash_settings
from medreg.data.records import Record
from medreg.data.selection import ImageSelection
from medreg.data.shape_grid import STRUCTURES, ShapeGrid, ordered_codes
from medreg.data.shape_loading import FrameChoice, LoadHeart, read_heart
from medreg.data.shapes_dataset import ShapeDataset
from medreg.data.splits import SubjectSplit
from medreg.data.store import Cache, RecordStore
from medreg.errors import ConfigError

VISITS = ("first", "pairs")


class ShapeData(ImageData):
    """Hearts of people, one a case: label maps on one grid, LV 1, MYO 2, RV 3 whatever the codes of the files are.

    Args:
        dataset: the data set on disk.
        split: which subject serves for what.
        loader: batches and workers.
        cache: where hearts on the grid are kept.
        placing: how a label map comes to the grid.
        labels: LV, MYO and RV → code in the files.
        phases: "cycle" or "edes", see `FrameChoice`.
        frames: of every heart; None takes all frames of a cycle: hearts of different length then need batches of one.
        visits: "first": first visits only; "pairs": test cases carry `later`, the same person's next visit.
        categories: category → its values in the order of their codes; others are sorted.
        size: (X, Y, Z) of the grid, voxels; here for models to refer to, as the following.
        spacing_mm: of the grid, mm.
        classes: structures and background.
        n_down: how often a network halves the grid.
        grid: name of the grid.
        grids: named grids.
        lengths: phases → number of frames.
        seed: of everything random in loading.
        ndim: 3.
        limit_train_fraction: share of the training subjects that is used.
        on_corrupt: "error" stops at a heart that cannot be read or does not fit the grid, "skip" leaves it out.
    """

    kind: ClassVar[str] = "shapes"
    chosen_by: ClassVar[str] = "data.visits"
    every_item: ClassVar[bool] = True

    def __init__(
        self,
        dataset: DataSource,
        split: SubjectSplit,
        loader: LoaderOptions,
        cache: Cache,
        placing: ShapeGrid,
        *,
        labels: Mapping[str, int],
        phases: str,
        frames: int | None,
        visits: str,
        categories: Mapping[str, Sequence[str]],
        size: Sequence[int],
        spacing_mm: Sequence[float],
        classes: int,
        n_down: int,
        grid: str,
        grids: Mapping[str, Any],
        lengths: Mapping[str, Any],
        seed: int,
        ndim: int = 3,
        limit_train_fraction: float = 1.0,
        on_corrupt: str = "error",
    ) -> None:
        ordered_codes(labels)
        if visits not in VISITS:
            raise ConfigError(f"data.visits is {visits!r}; choose first or pairs.")
        if (tuple(size), tuple(spacing_mm)) != (tuple(placing.size), tuple(placing.spacing_mm)):
            raise ConfigError(
                f"data.size={list(size)}, data.spacing_mm={list(spacing_mm)} differ from data.placing; leave "
                "data.placing.size and data.placing.spacing_mm as they are and change the former."
            )
        if classes != len(STRUCTURES) + 1:
            raise ConfigError(
                f"data.classes is {classes}; LV, MYO, RV and background are {len(STRUCTURES) + 1}."
            )
        self.placing, self.visits = placing, visits
        self.choice = FrameChoice(phases, frames)
        self.size, self.spacing_mm = tuple(map(int, size)), tuple(map(float, spacing_mm))
        self.frames = 2 if phases == "edes" else frames
        self.classes, self.n_down = classes, n_down
        self.odd: dict[str, list[tuple[str, str]]] = {}
        self._order = {name: tuple(map(str, values)) for name, values in categories.items()}
        super().__init__(
            dataset,
            split,
            Preprocess("stored", None, None, None, "world", None),  # hearts have a preparation of their own
            None,
            loader,
            cache,
            ndim=ndim,
            labels={name: int(labels[name]) for name in STRUCTURES},
            seed=seed,
            images=ImageSelection(labelled=True),
            limit_train_fraction=limit_train_fraction,
            on_corrupt=on_corrupt,
        )

    @property
    def phases(self) -> str:
        """Either "cycle" or "edes"."""
        return self.choice.phases

    def training_covariates(self) -> Mapping[str, Tensor]:
        """Return what is told of the people of the training set, name → (N,); no heart is loaded for it."""
        people = [self._covariates.tensors(heart.frames[0], 1) for heart in self.items("train")]
        names = (*self._covariates.numbers, *self._covariates.categories)
        return {name: torch.cat([person[name] for person in people]) for name in names} if people else {}

    def fingerprint(self) -> dict[str, Any]:
        """Return what identifies the data, the preparation of hearts in place of that of images."""
        return {**super().fingerprint(), "preprocess": hash_settings(self._settings())}

    def load(self, record: Record) -> Mapping[str, Any]:
        """Return the first frame of a label file as it is, in the place of an image too, for `medreg doctor`.

        Raises:
            CorruptFile: the file cannot be read.
        """
        item = heart_item(Heart(record.id, record.subject, (record,), record.visit or 1))
        store = RecordStore([], Compose([_as_stored]), cache=Cache("none", ""), key={})
        return store[item]

    def oddities(self) -> Iterator[tuple[str, str, str]]:
        """Yield kind, sentence and heart of what was odd in those loaded so far."""
        for kind, found in self.odd.items():
            for name, sentence in found:
                yield kind, sentence, name

    def _look_through(self, records: Sequence[Record]) -> None:
        self._covariates = Covariates(records, order=self._order)

    def _items_of(
        self, subjects: Sequence[str], stage: str, records: Sequence[Record]
    ) -> tuple[list[Any], list[Record]]:
        images, _ = super()._items_of(subjects, stage, records)
        hearts = hearts_of(images)
        items = with_later(hearts) if self.visits == "pairs" and stage == "test" else first_visits(hearts)
        return items, [record for heart in items for record in heart.parts.values()]

    def _perhaps(self, items: Sequence[Any]) -> frozenset[str]:
        keys = {"covariates"} if self._covariates else set()
        return frozenset(keys | {"later"} if all(heart.later for heart in items) else keys)

    def _needed(self, stage: str) -> list[dict[str, Any]]:
        hearts = [heart for item in self.items(stage) for heart in (item, item.later) if heart is not None]
        return list({heart.id: heart_item(heart) for heart in hearts}.values())

    def _store(self, stage: str) -> RecordStore:
        if stage not in self._stores:
            load = LoadHeart(self.placing, self.labels, self.choice, self.odd)
            self._stores[stage] = RecordStore(
                self._needed(stage), Compose([load]), cache=self._cache_of(stage), key=self._settings()
            )
        return self._stores[stage]

    def _settings(self) -> dict[str, Any]:
        """Everything on which a heart on the grid depends beside its files."""
        placing = self.placing
        return {
            "version": 1,
            "size": list(self.size),
            "spacing_mm": list(self.spacing_mm),
            "placing": [placing.orient, placing.interpolate, float(placing.most_cut_percent)],
            "ignored_codes": list(map(int, placing.ignored_codes)),
            "labels": self._configured,
            "phases": self.choice.phases,
            "frames": self.frames,
        }

    def _read(self, items: Sequence[Any], stage: str, **options: Any) -> Any:
        return ShapeDataset(items, spacing_mm=self.spacing_mm, **options)


def _as_stored(data: Mapping[Hashable, Any]) -> dict[str, Tensor]:
    volume, _ = read_heart(data)
    label = torch.from_numpy(volume.array[..., 0].copy()).unsqueeze(0)
    return {"image": label.float(), "label": label, "affine": torch.from_numpy(volume.affine)}
