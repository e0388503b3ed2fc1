"""The λ that someone asks for with two files, brought to the grid of the model as the fixed image is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medreg.errors import CompositionError, ConfigError, DataError
from medreg.io.image import Volume, read_image
from medreg.io.on_grid import called, check_on_grid
from medreg.models.chosen_smoothness import (
    ChosenSmoothness,
    range_note,
    read_choice,
    require_conditional,
    require_maps,
)
from medreg.models.conditional import ConditionalModel
from medreg.registering.pair import Pair, Source
from medreg.runs.scans import Scan, prepare_map
from medreg.runs.trained import TrainedRun


@dataclass(frozen=True)
class SmoothnessRequest:
    """What was said about λ; at most one of a map, a file, and numbers.

    Attributes:
        smoothness: one λ, or that of labels without one of their own.
        map: image of λ on the grid of the fixed image.
        labels: λ by label code of the fixed image.
        file: result of `medreg search-smoothness`.

    Raises:
        ConfigError: two that exclude one another.
    """

    smoothness: float | None = None
    map: Source | None = None
    labels: Mapping[int, float] = field(default_factory=dict)
    file: str | Path | None = None

    def __post_init__(self) -> None:
        numbers = (
            "--smoothness" if self.smoothness is not None else "--smoothness-label" if self.labels else None
        )
        given = {"--smoothness-map": self.map, "--smoothness-file": self.file, numbers: numbers}
        used = [str(name) for name, value in given.items() if value is not None]
        if len(used) > 1:
            raise ConfigError(
                f"{' and '.join(used)} exclude one another: a map says λ of every voxel, a file that of every label. "
                "Give one of them."
            )

    @property
    def made(self) -> bool:
        """Whether anything was asked for."""
        return (
            self.smoothness is not None or self.map is not None or bool(self.labels) or self.file is not None
        )

    def choice(self) -> ChosenSmoothness:
        """The numbers asked for; those of the file where one is given."""
        if self.file is not None:
            return read_choice(self.file)
        return ChosenSmoothness(self.smoothness, self.labels)


Smoothness = float | Source | Mapping[int, float] | SmoothnessRequest  # as Python callers give it


def asked(smoothness: Smoothness | None) -> SmoothnessRequest:
    """Return what a number, map, mapping from labels, or YAML file asks for."""
    if smoothness is None or isinstance(smoothness, SmoothnessRequest):
        return smoothness or SmoothnessRequest()
    if isinstance(smoothness, int | float):
        return SmoothnessRequest(smoothness)
    if isinstance(smoothness, Mapping):
        return SmoothnessRequest(labels=smoothness)
    if isinstance(smoothness, str | Path) and str(smoothness).endswith((".yaml", ".yml")):
        return SmoothnessRequest(file=smoothness)
    return SmoothnessRequest(map=smoothness)


@dataclass(frozen=True, eq=False)
class ResolvedSmoothness:
    """λ as a run takes it.

    Attributes:
        value: a number or λ by label, or (1, 1, *S) on the grid of the model; None where nothing was asked for.
        settings: what was asked for as plain values, for the record.
        notes: what a person should know about it.
    """

    value: ChosenSmoothness | Tensor | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def choose(request: SmoothnessRequest, pair: Pair, run: TrainedRun) -> ResolvedSmoothness:
    """Return the λ that was asked for, checked against the pair and the model of the run.

    A map is oriented, resampled (linearly) and cropped as the fixed image is; beyond the image λ is the model's own.

    Raises:
        CompositionError: a model that takes no λ, or no map; λ by label without a label map of the fixed image.
        DataError: a map on another grid than the fixed image, or with NaN.
    """
    if not request.made:
        return ResolvedSmoothness()
    model = require_conditional(run.registration)
    if request.map is not None:
        require_maps(model)
        volume = read_map(request.map, pair.fixed)
        given = torch.from_numpy(volume.array)
        field_of = prepare_map(
            run.preprocess, Scan(pair.fixed, pair.fixed_labels), volume, background=model.smoothness
        )
        return ResolvedSmoothness(field_of, {"map": str(volume.path or "array")}, _notes(model, given))
    choice = request.choice()
    if choice.labels:
        require_maps(model)
        _check_labels(choice, pair)
    named = {
        "smoothness": choice.smoothness,
        "labels": dict(choice.labels),
        "file": None if request.file is None else str(request.file),
    }
    numbers = [model.smoothness if choice.smoothness is None else choice.smoothness, *choice.labels.values()]
    settings = {key: found for key, found in named.items() if found not in (None, {})}
    return ResolvedSmoothness(choice, settings, _notes(model, torch.tensor(numbers)))


def _notes(model: ConditionalModel, given: Tensor) -> tuple[str, ...]:
    note = range_note(model, given)
    return () if note is None else (note,)


def read_map(source: Source, fixed: Volume) -> Volume:
    """Return a map of λ after checking that it lies on the grid of the fixed image.

    Args:
        source: file, `Volume`, or array, which takes the place of the fixed image.
        fixed: the fixed image.

    Raises:
        DataError: another shape or another place in the world, or NaN; names both files.
    """
    if isinstance(source, str | Path):
        volume = read_image(source)
    elif isinstance(source, Volume):
        volume = replace(source, array=np.ascontiguousarray(source.array, dtype=np.float32))
    else:
        values = source.detach().cpu().numpy() if isinstance(source, Tensor) else source
        volume = Volume(np.ascontiguousarray(values, dtype=np.float32), fixed.affine, fixed.spacing_mm)
    check_on_grid(volume, "λ map", fixed, "fixed image", remedy="Resample it to that image")
    bad = int((~np.isfinite(volume.array)).sum())
    if bad:
        raise DataError(
            f"{called(volume, 'λ map')} holds {bad} NaN or infinite values; every voxel needs a λ. Fill them, with "
            "the λ of the background where there is nothing to say."
        )
    if float(volume.array.min()) < 0:
        raise DataError(f"{called(volume, 'λ map')} holds negative values; λ is 0 or more.")
    return volume


def _check_labels(choice: ChosenSmoothness, pair: Pair) -> None:
    if pair.fixed_labels is None:
        raise CompositionError(
            "λ by label needs the label map of the fixed image, which says where each label is: give --fixed-labels "
            "FILE, one number with --smoothness, or a map with --smoothness-map."
        )
    there = sorted(int(code) for code in np.unique(pair.fixed_labels.array))
    if not set(choice.labels) & set(there):
        raise DataError(
            f"{called(pair.fixed_labels, 'fixed labels')} holds none of the labels that have a λ "
            f"({', '.join(map(str, sorted(choice.labels)))}); it holds {', '.join(map(str, there))}."
        )
