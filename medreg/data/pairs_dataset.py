"""Items of one split: a pair is drawn, loaded, prepared and cut into slices, without any hidden state."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from medreg.data.failures import CorruptFile, FlatVolume
from medreg.data.loading import record_item, truth_item
from medreg.data.pairing import Pairing
from medreg.data.preprocess import Choice, PreparedPair, Preprocess
from medreg.data.records import Pair, Record
from medreg.data.slices import Slices, empty_without_overlap
from medreg.data.stacks import KeptStacks, Stack
from medreg.data.store import RecordStore

logger = logging.getLogger(__name__)
SKIPPED = "skipped"  # key under which an item reports what could not be read instead


@dataclass(frozen=True)
class Access:
    """What a sampler asks for: the item and the epoch, from which all randomness is derived."""

    epoch: int
    index: int


class PairDataset(Dataset):
    """Pairs of one split as samples of the batch contract.

    Random choices (slice, partner) depend on (seed, epoch, index) only, so that a resumed run and any number
    of workers or devices see the same samples.

    Args:
        pairs: pairs in a fixed order.
        records: records of the split, from which partners are drawn.
        store: loads records.
        preprocess: preparation of a pair.
        slices: slice policy, None for volumes.
        pairing: may redraw a pair.
        truth: finds the displacement file of a redrawn pair.
        codes: label codes of the data set.
        seed: of the random choices.
        training: random slices and partners.
        skip_corrupt: report an unreadable pair in the item instead of raising.
        keep: keep prepared stacks in memory, see `KeptStacks`; for training.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        records: Sequence[Record],
        *,
        store: RecordStore,
        preprocess: Preprocess,
        slices: Slices | None,
        pairing: Pairing,
        truth: Callable[[Record, Record], Path | None],
        codes: Sequence[int],
        seed: int,
        training: bool,
        skip_corrupt: bool,
        keep: bool,
    ) -> None:
        self.pairs = list(pairs)
        self.records = list(records)
        self.store = store
        self.preprocess = preprocess
        self.slices = slices
        self.pairing = pairing
        self.truth = truth
        self.codes = tuple(codes)
        self.seed = seed
        self.training = training
        self.skip_corrupt = skip_corrupt
        self.stacks = KeptStacks(pairs, images=len(store) if keep and training else 0)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, access: Access | int) -> dict[str, Any]:
        """Return a sample.

        Raises:
            CorruptFile: a file cannot be read, unless `skip_corrupt`.
        """
        access = access if isinstance(access, Access) else Access(0, access)
        if not self.skip_corrupt:
            return self._sample(access)
        skipped: list[str] = []
        # In training the next readable pair takes the place of a bad one, so that every batch stays full.
        for step in range(len(self) if self.training else 1):
            try:
                item = self._sample(replace(access, index=access.index + step))
            except CorruptFile as error:
                skipped.append(str(error))
            else:
                return {**item, SKIPPED: skipped} if skipped else item
        return {SKIPPED: skipped}

    def _sample(self, access: Access) -> dict[str, Any]:
        generator = np.random.default_rng([self.seed, access.epoch, access.index])
        pair = self.pairs[access.index % len(self)]
        if self.training:
            drawn = self.pairing.draw(pair, self.records, generator)
            pair = drawn if drawn is pair else replace(drawn, truth=self.truth(drawn.fixed, drawn.moving))
        if self.slices is None:
            sample = volume_sample(self._prepared(pair), pair)
        elif self.stacks.takes(pair):
            stack = self.stacks.get(pair, partial(self._stack, pair, self.slices))
            sample = stack.pick(self.slices.for_training(stack.candidates, generator))
        else:
            sample = slice_sample(self._prepared(pair, choose=self._chooser(self.slices, generator)))
            self._empty_labels(self.slices, sample)
        count = len(sample["fixed_image"])
        names = {"case": pair.id, "fixed_id": pair.fixed.id, "moving_id": pair.moving.id}
        return {**sample, **{key: [name] * count for key, name in names.items()}}

    def _prepared(self, pair: Pair, *, choose: Choice | None = None) -> PreparedPair:
        fixed, moving = (self.store[record_item(record)] for record in (pair.fixed, pair.moving))
        truth = None if pair.truth is None else self.store[truth_item(pair.truth)]
        return self.preprocess.prepare(fixed, moving, truth, choose=choose)

    def _stack(self, pair: Pair, slices: Slices) -> Stack:
        """All slices of a pair, and those among which training may choose."""
        candidates: list[int] = []

        def choose(labels: list[Tensor], depth: int) -> list[int]:
            candidates.extend(slices.candidates(depth, labels, self.codes))
            return list(range(depth))

        return Stack(slice_sample(self._prepared(pair, choose=choose)), candidates)

    def _chooser(self, slices: Slices, generator: np.random.Generator) -> Choice:
        def choose(labels: list[Tensor], depth: int) -> list[int]:
            candidates = slices.candidates(depth, labels, self.codes)
            if self.training:
                return slices.for_training(candidates, generator)
            return slices.for_evaluation(candidates)

        return choose

    def _empty_labels(self, slices: Slices, sample: dict[str, Any]) -> None:
        both = {"fixed_label", "moving_label"} <= sample.keys()
        if slices.overlap_only and both and not self.training:
            pair = empty_without_overlap(sample["fixed_label"], sample["moving_label"], self.codes)
            sample["fixed_label"], sample["moving_label"] = pair


def volume_sample(prepared: PreparedPair, pair: Pair) -> dict[str, Any]:
    """Return a prepared pair as one 3-D sample, N = 1.

    Raises:
        FlatVolume: it is a single slice.
    """
    if prepared.grid.shape[2] == 1:
        raise FlatVolume(
            f"{pair.fixed.describe()} is a single slice, but data.ndim=3 asks for volumes; use a data "
            "configuration of slices, such as data=folder_slices."
        )
    sample: dict[str, Any] = {key: _typed(key, array).unsqueeze(0) for key, array in prepared.arrays.items()}
    grid = prepared.grid
    sample["spacing_mm"] = grid.spacing_mm.to(torch.float32).unsqueeze(0)
    sample["affine"] = grid.affine.unsqueeze(0)
    sample["slice_index"] = torch.full((1,), -1, dtype=torch.int64)
    return sample


def slice_sample(prepared: PreparedPair) -> dict[str, Any]:
    """Return the chosen slices of a pair as N 2-D samples, without points, with in-plane motion."""
    index = torch.tensor(prepared.slices, dtype=torch.int64)
    sample: dict[str, Any] = {}
    for key, array in prepared.arrays.items():
        if not key.startswith("keypoint_") and not key.endswith("_keypoints"):
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
    if key.endswith("_label"):
        return array.to(torch.int64)
    if key.endswith("_affine"):
        return array
    return array.to(torch.uint8) if key.endswith("_mask") else array.to(torch.float32)


def readable(item: Mapping[str, Any]) -> bool:
    """Whether an item holds a sample, not only a report of what could not be read."""
    return "fixed_image" in item
