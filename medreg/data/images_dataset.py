"""Items of one split: an image is loaded, prepared and cut into slices, without any hidden state."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from medreg.data.covariates import Covariates
from medreg.data.failures import CorruptFile, FlatVolume, PointsBetweenSlices
from medreg.data.loading import record_item
from medreg.data.preprocess import Choice, Prepared, Preprocess
from medreg.data.records import Item, Record
from medreg.data.slices import Slices
from medreg.data.stacks import KeptStacks, PreparedStack
from medreg.data.store import RecordStore

CUT = "cut_percent"  # key of the share of labels that the crop has left out
TOLD = 0.01  # of a label: less is the ragged end of a large structure
SKIPPED = "skipped"  # key under which an item reports what could not be read instead
log = logging.getLogger(__name__)
AnyItem = TypeVar("AnyItem", bound=Item)


@dataclass(frozen=True)
class Access:
    """What a sampler asks for: the item and the epoch, from which all randomness is derived."""

    epoch: int
    index: int


class ItemDataset(Dataset, Generic[AnyItem]):
    """Items of one split as samples of the batch contract of their kind.

    Random choices (slice, partner) depend on (seed, epoch, index) only, so that a resumed run and any number
    of workers or devices see the same samples. A kind of item says what is drawn (`drawn`), how its images
    are put together (`prepared`, `arranged`) and what else is told of it (`facts`).

    Args:
        items: in a fixed order.
        store: loads records.
        preprocess: preparation of images.
        slices: slice policy, None for volumes.
        codes: label codes of the data set.
        covariates: what the data set tells of subjects.
        seed: of the random choices.
        training: random slices and partners.
        skip_corrupt: report an unreadable item in the sample instead of raising.
        keep: keep prepared stacks in memory, see `KeptStacks`; for training.
    """

    def __init__(
        self,
        items: Sequence[AnyItem],
        *,
        store: RecordStore,
        preprocess: Preprocess,
        slices: Slices | None,
        codes: Sequence[int],
        covariates: Covariates,
        seed: int,
        training: bool,
        skip_corrupt: bool,
        keep: bool,
    ) -> None:
        self.items = list(items)
        self.store = store
        self.preprocess = preprocess
        self.slices = slices
        self.codes = tuple(codes)
        self.covariates = covariates
        self.seed = seed
        self.training = training
        self.skip_corrupt = skip_corrupt
        self._cut: set[int] = set()
        self.stacks = KeptStacks(items, images=len(store) if keep and training else 0)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, access: Access | int) -> dict[str, Any]:
        """Return a sample.

        Raises:
            CorruptFile: a file cannot be read, unless `skip_corrupt`.
        """
        access = access if isinstance(access, Access) else Access(0, access)
        if not self.skip_corrupt:
            return self._sample(access)
        skipped: list[str] = []
        # In training the next readable item takes the place of a bad one, so that every batch stays full.
        for step in range(len(self) if self.training else 1):
            try:
                sample = self._sample(replace(access, index=access.index + step))
            except CorruptFile as error:
                skipped.append(str(error))
            else:
                return {**sample, SKIPPED: skipped} if skipped else sample
        return {SKIPPED: skipped}

    def drawn(self, item: AnyItem, generator: np.random.Generator) -> AnyItem:
        """Return the item used at one access in training; by default the listed one."""
        return item

    def prepared(self, item: AnyItem, choose: Choice | None) -> Prepared:
        """Return the images of an item on one grid."""
        loaded = {part: self.store[record_item(record)] for part, record in item.parts.items()}
        return self.preprocess.together(loaded, choose=choose)

    def arranged(self, sample: dict[str, Any], item: AnyItem) -> dict[str, Any]:
        """Return the arrays under the keys of the contract; by default they are."""
        return sample

    def facts(self, item: AnyItem, count: int) -> dict[str, Any]:
        """Return what is told of each of `count` slices beside arrays."""
        subject = next(iter(item.parts.values()))
        return {"case": [item.id] * count, **self.covariates.entry(subject, count)}

    def _sample(self, access: Access) -> dict[str, Any]:
        generator = np.random.default_rng([self.seed, access.epoch, access.index])
        item = self.items[access.index % len(self)]
        if self.training:
            item = self.drawn(item, generator)
        if self.slices is None:
            made = self.prepared(item, None)
            sample = self._told(self.arranged(volume_sample(made, item), item), made, item)
        elif self.stacks.takes(item):
            stack = self.stacks.get(item, partial(self.stack, item, self.slices))
            sample = stack.pick(self.slices.for_training(stack.candidates, generator))
        else:
            made = self.prepared(item, self._chooser(self.slices, generator))
            sample = self._told(self.arranged(slice_sample(made, item), item), made, item)
        return {**sample, **self.facts(item, len(sample["slice_index"]))}

    def stack(self, item: AnyItem, slices: Slices) -> PreparedStack:
        """Return all slices of an item, and those among which training may choose."""
        candidates: list[int] = []

        def choose(labels: list[Tensor], depth: int) -> list[int]:
            candidates.extend(slices.candidates(depth, labels, self.codes))
            return list(range(depth))

        made = self.prepared(item, choose)
        sample = self._told(self.arranged(slice_sample(made, item), item), made, item)
        return PreparedStack(sample, candidates)

    def _told(self, sample: dict[str, Any], made: Prepared, item: AnyItem) -> dict[str, Any]:
        """Return a sample with what the crop has cut off, and say so in the log, once for every code."""
        for code, share in made.cut.items():
            if share > TOLD and code not in self._cut:
                self._cut.add(code)
                log.warning(
                    "data.preprocess.size=%s cuts off %.0f %% of label %d of %s: losses and metrics see only what is "
                    "left. A larger size, or data.preprocess.crop_label, keeps it.",
                    list(self.preprocess.size or ()),
                    100 * share,
                    code,
                    item.id,
                )
        count = len(sample["slice_index"])
        shares = {str(code): torch.full((count,), 100 * share) for code, share in made.cut.items()}
        return {**sample, CUT: shares} if shares and not self.training else sample

    def _chooser(self, slices: Slices, generator: np.random.Generator) -> Choice:
        def choose(labels: list[Tensor], depth: int) -> list[int]:
            candidates = slices.candidates(depth, labels, self.codes)
            if self.training:
                return slices.for_training(candidates, generator)
            return slices.for_evaluation(candidates)

        return choose


class ImageDataset(ItemDataset[Record]):
    """Single images as samples of the batch contract."""

    def facts(self, item: Record, count: int) -> dict[str, Any]:
        """Return name, phase and frame of the image, too."""
        frame = -1 if item.position is None else item.position
        return {
            **super().facts(item, count),
            "image_id": [item.id] * count,
            "phase": [item.phase] * count,
            "frame": torch.full((count,), frame, dtype=torch.int64),
        }


def volume_sample(prepared: Prepared, item: Item) -> dict[str, Any]:
    """Return prepared images as one 3-D sample, N = 1.

    Raises:
        FlatVolume: it is a single slice.
    """
    grid = prepared.grid
    if grid.shape[2] == 1:
        raise FlatVolume(
            f"{next(iter(item.parts.values())).describe()} is a single slice, but data.ndim=3 asks for volumes; "
            "use a data configuration of slices, such as data=folder_slices."
        )
    sample: dict[str, Any] = {key: _typed(key, array).unsqueeze(0) for key, array in prepared.arrays.items()}
    sample["spacing_mm"] = grid.spacing_mm.to(torch.float32).unsqueeze(0)
    sample["affine"] = grid.affine.unsqueeze(0)
    sample["slice_index"] = torch.full((1,), -1, dtype=torch.int64)
    return sample


def slice_sample(prepared: Prepared, item: Item) -> dict[str, Any]:
    """Return the chosen slices of prepared images as N 2-D samples, with in-plane motion.

    Points of a single slice are its own; those of a stack lie between slices, where no 2-D field tells their motion.

    Raises:
        PointsBetweenSlices: a stack of several slices with points.
    """
    depth = prepared.grid.shape[2]
    if depth > 1 and any("keypoint" in key for key in prepared.arrays):
        raise PointsBetweenSlices(
            f"{next(iter(item.parts.values())).describe()} has landmarks and {depth} slices, which data.ndim=2 "
            "registers one by one: no error of a point between them can be told. Use a data configuration of volumes "
            "(data=folder), or leave the landmarks out of the list."
        )
    index = torch.tensor(prepared.slices, dtype=torch.int64)
    sample: dict[str, Any] = {}
    for key, array in prepared.arrays.items():
        if key == "keypoint_affine":
            sample[key] = array.unsqueeze(0)
        elif "keypoint" in key:
            sample[key] = _typed(key, array[:, :2].unsqueeze(0).contiguous())
        else:
            plane = array[:2] if key == "displacement" else array
            sample[key] = _typed(key, plane.permute(3, 0, 1, 2).contiguous())
    grid = prepared.grid
    affine = grid.affine.unsqueeze(0).repeat(len(index), 1, 1)
    affine[:, :, 3] += index.to(torch.float64).unsqueeze(1) * grid.affine[:, 2]
    sample["spacing_mm"] = grid.spacing_mm[:2].to(torch.float32).expand(len(index), 2).clone()
    sample["affine"] = affine
    sample["slice_index"] = index
    return sample


def _typed(key: str, array: Tensor) -> Tensor:
    if key.endswith("label"):
        return array.to(torch.int64)
    if key.endswith("affine"):
        return array
    return array.to(torch.uint8) if key.endswith("mask") else array.to(torch.float32)


def readable(item: Mapping[str, Any]) -> bool:
    """Whether an item holds a sample, not only a report of what could not be read."""
    return "case" in item
