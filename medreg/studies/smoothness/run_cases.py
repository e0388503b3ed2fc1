"""A run folder as a search sees it: the trained model, its cases, its structures and its regions of λ."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from medreg.config.instantiate import build
from medreg.errors import CheckpointError, DataError, DatasetNotFound
from medreg.models.base import RegistrationModel
from medreg.models.conditional import Regions
from medreg.runs.checkpoint import load_model
from medreg.studies.smoothness.problem import Batch


@dataclass(frozen=True, eq=False)
class TrainedRun:
    """A trained model with what its configuration says.

    Attributes:
        folder: run folder.
        model: in evaluation mode.
        config: resolved configuration.
    """

    folder: Path
    model: RegistrationModel
    config: Mapping[str, Any]

    @property
    def use_masks(self) -> bool:
        """Whether images are compared within masks."""
        return bool((self.config.get("task") or {}).get("use_masks", True))

    @property
    def trained_weight(self) -> float | None:
        """λ of a model that was trained for one; None for others."""
        weights = (self.config.get("task") or {}).get("weights") or {}
        low, high = weights.get("low"), weights.get("high")
        return float(low) if low is not None and low == high else None

    @property
    def training_cpu_seconds(self) -> float | None:
        """CPU time of its training, as run.json says; None where it does not."""
        file = self.folder / "run.json"
        content = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        found = (content.get("cpu_seconds") or {}).get("fit")
        return None if found is None else float(found)

    def regions(self, codes: list[int]) -> Regions:
        """Return the regions of λ in training: those of the task, or one for every structure."""
        return Regions.of((self.config.get("task") or {}).get("regions"), labels=codes)


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


def load_run(folder: Path) -> TrainedRun:
    """Read the model of a run folder.

    Raises:
        CheckpointError: no run folder, no checkpoint, or not of a registration run.
    """
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is no run folder; give the one that holds config.yaml.")
    model, config = load_model(folder)
    if not isinstance(model, RegistrationModel):
        raise CheckpointError(f"{folder} is not the run of a registration model.")
    text = folder / "config.yaml"
    if text.is_file():
        config = yaml.safe_load(text.read_text(encoding="utf-8")) | {"model": config["model"]}
    return TrainedRun(folder, model, config)


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
    if "data" not in run.config:
        raise DatasetNotFound(f"{run.folder} does not say what its data are; give the folder of a run.")
    data = build(run.config["data"])
    data.on_corrupt = "skip"  # one bad case must not lose the others
    data.prepare_data()
    data.setup()
    if not data.pairs(split):
        raise DataError(
            f"{run.folder} has no {split} cases; use --split test, or train with data.split.val above 0."
        )
    loader = data.val_dataloader() if split == "val" else data.test_dataloader()
    return Cases(
        split, list(_spread(loader, len(data.pairs(split)), limit)), data.labels, dict(data.left_out)
    )


def _spread(loader: Any, count: int, limit: int | None) -> Iterator[Batch]:
    wanted = min(count, limit or count)
    chosen = {round(number * (count - 1) / max(wanted - 1, 1)) for number in range(wanted)}
    for number, batch in enumerate(loader):
        if number in chosen:
            yield batch
