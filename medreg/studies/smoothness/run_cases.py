"""The cases of a trained run as a search sees them, and what its training says about λ."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from medreg.config.instantiate import build
from medreg.errors import CheckpointError, DataError, DatasetNotFound
from medreg.io.digest import DIGITS, digest_of
from medreg.models.conditional import Regions
from medreg.runs.trained import TrainedRun
from medreg.studies.smoothness.problem import Batch


@dataclass(frozen=True, eq=False)
class Cases:
    """Cases of one split in memory.

    Attributes:
        split: val or test.
        batches: one case each.
        labels: structure → code.
        left_out: cases that could not be read, with the number of times.
    """

    split: str
    batches: list[Batch]
    labels: Mapping[str, int]
    left_out: Mapping[str, int]

    @property
    def codes(self) -> list[int]:
        """Codes of the structures."""
        return list(self.labels.values())

    @cached_property
    def digests(self) -> dict[str, str]:
        """Digest of everything that each case holds: images, labels, masks, spacing."""
        return {str(batch["case"][0]): _digest(batch) for batch in self.batches}


def trained_smoothness(run: TrainedRun) -> float | None:
    """Return λ of a model that was trained for one; None for others."""
    draws = run.task.get("draws") or {}
    low, high = draws.get("low"), draws.get("high")
    return float(low) if low is not None and low == high else None


def training_cpu_seconds(run: TrainedRun) -> float:
    """Return the CPU time of a training as run.json says, NaN where it does not."""
    return float((run.record.get("cpu_seconds") or {}).get("fit", "nan"))


def regions_of(run: TrainedRun, codes: list[int]) -> Regions:
    """Return the regions of λ in training: those of the task, or one for every structure."""
    return Regions.of(run.task.get("regions"), labels=codes)


def load_run(folder: Path) -> TrainedRun:
    """Open a run folder.

    Raises:
        CheckpointError: no run folder, no checkpoint, or not of a registration run.
    """
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is no run folder; give the one that holds config.yaml.")
    run = TrainedRun.open(folder)
    run.registration  # noqa: B018 (refuses other kinds of runs before data are read)
    return run


def load_cases(run: TrainedRun, split: str, *, limit: int | None = None) -> Cases:
    """Load the validation or test cases of a run; unreadable ones are left out and counted.

    Args:
        run: says data and preparation.
        split: "val" or "test".
        limit: at most so many cases, evenly spread over the split.

    Raises:
        DatasetNotFound: the data of the run are not there.
        DataError: there is no case.
    """
    if not run.data:
        raise DatasetNotFound(f"{run.path} does not say what its data are; give the folder of a run.")
    data = build(dict(run.data))
    data.on_corrupt = "skip"  # one bad case must not lose the others
    data.prepare_data()
    data.setup()
    if not data.pairs(split):
        raise DataError(
            f"{run.path} has no {split} cases; use --split test, or train with data.split.val above 0."
        )
    loader = data.val_dataloader() if split == "val" else data.test_dataloader()
    return Cases(
        split, list(_spread(loader, len(data.pairs(split)), limit)), data.labels, dict(data.left_out)
    )


def _digest(batch: Batch) -> str:
    found = hashlib.sha256()
    for key in sorted(batch):
        value = batch[key]
        content = value.cpu().contiguous().numpy() if isinstance(value, Tensor) else None
        head = [key, str(value)] if content is None else [key, str(content.dtype), content.shape]
        found.update(digest_of(head).encode() + (b"" if content is None else content.tobytes()))
    return found.hexdigest()[:DIGITS]


def _spread(loader: Any, count: int, limit: int | None) -> Iterator[Batch]:
    wanted = min(count, limit or count)
    chosen = {round(number * (count - 1) / max(wanted - 1, 1)) for number in range(wanted)}
    for number, batch in enumerate(loader):
        if number in chosen:
            yield batch
