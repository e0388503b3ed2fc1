"""The λ that someone asks for with two files, brought to the grid of the model as the fixed image is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor
from torch import Tensor

from medreg.data.preprocess import Preprocess
from medreg.errors import CompositionError, ConfigError, DataError
from medreg.io.image import Volume, read_image
from medreg.models.base import RegistrationModel
from medreg.models.chosen_weight import (
    ChosenWeight,
    range_note,
    read_choice,
    require_conditional,
    require_maps,
)
from medreg.models.conditional import ConditionalModel
from medreg.registering.pair import Pair, Source, called, check_on_grid, grid_of, tensor_of


@dataclass(frozen=True)
class WeightRequest:
    """What was said about λ; at most one of a map, a file, and numbers.

    Attributes:
        weight: one λ, or that of labels without one of their own.
        map: image of λ on the grid of the fixed image.
        labels: λ by label code of the fixed image.
        file: result of `medreg search-lambda`.

    Raises:
        ConfigError: two that exclude one another.
    """

    weight: float | None = None
    map: Source | None = None
    labels: Mapping[int, float] = field(default_factory=dict)
    file: str | Path | None = None

    def __post_init__(self) -> None:
        numbers = "--lambda" if self.weight is not None else "--lambda-label" if self.labels else None
        given = {"--lambda-map": self.map, "--lambda-file": self.file, numbers: numbers}
        used = [str(name) for name, value in given.items() if value is not None]
        if len(used) > 1:
            raise ConfigError(
                f"{' and '.join(used)} exclude one another: a map says λ of every voxel, a file that of every label. "
                "Give one of them."
            )

    @property
    def made(self) -> bool:
        """Whether anything was asked for."""
        return self.weight is not None or self.map is not None or bool(self.labels) or self.file is not None

    def choice(self) -> ChosenWeight:
        """The numbers asked for; those of the file where one is given."""
        if self.file is not None:
            return read_choice(self.file)
        return ChosenWeight(self.weight, self.labels)


Weight = float | Source | Mapping[int, float] | WeightRequest  # as Python callers give it


def asked(weight: Weight | None) -> WeightRequest:
    """Return what a number, map, mapping from labels, or YAML file asks for."""
    if weight is None or isinstance(weight, WeightRequest):
        return weight or WeightRequest()
    if isinstance(weight, int | float):
        return WeightRequest(weight)
    if isinstance(weight, Mapping):
        return WeightRequest(labels=weight)
    if isinstance(weight, str | Path) and str(weight).endswith((".yaml", ".yml")):
        return WeightRequest(file=weight)
    return WeightRequest(map=weight)


@dataclass(frozen=True, eq=False)
class PreparedWeight:
    """λ on the grid of the model.

    Attributes:
        value: (1,) for one number, (1, 1, *S) for a map.
        settings: what was asked for as plain values, for the record.
        notes: what a person should know about it.
    """

    value: Tensor
    settings: Mapping[str, Any]
    notes: tuple[str, ...]


def prepare_weight(
    request: WeightRequest, pair: Pair, model: RegistrationModel, preprocess: Preprocess
) -> PreparedWeight | None:
    """Return λ for a model's call, prepared as the fixed image is; None where nothing was asked for.

    A map is oriented, resampled (linearly) and cropped by the code that prepares the fixed image, without its
    normalisation; beyond the image λ is the model's own. A label map is prepared like those of training (nearest
    neighbour), then every label gets its λ.

    Raises:
        CompositionError: a model that takes no λ, or no map; λ by label without a label map of the fixed image.
        DataError: a map on another grid than the fixed image, or with NaN.
    """
    if not request.made:
        return None
    conditional = require_conditional(model)
    if request.map is not None:
        require_maps(conditional)
        volume = read_map(request.map, pair.fixed)
        value = _through(preprocess, pair, tensor_of(volume)[0], conditional, kind="image")
        settings: dict[str, Any] = {"map": str(volume.path or "array")}
        given = torch.from_numpy(volume.array)
    else:
        choice = request.choice()
        labels = _labels(choice, pair, conditional, preprocess)
        value = choice.tensor(conditional, labels, batch=1)
        named = {
            "weight": choice.weight,
            "labels": dict(choice.labels),
            "file": None if request.file is None else str(request.file),
        }
        settings = {key: found for key, found in named.items() if found not in (None, {})}
        given = value
    note = range_note(conditional, given)
    return PreparedWeight(value, settings, () if note is None else (note,))


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
    check_on_grid(volume, "λ map", fixed, "fixed", remedy="Resample it to that image")
    bad = int((~np.isfinite(volume.array)).sum())
    if bad:
        raise DataError(
            f"{called(volume, 'λ map')} holds {bad} NaN or infinite values; every voxel needs a λ. Fill them, with "
            "the λ of the background where there is nothing to say."
        )
    return volume


def _labels(
    choice: ChosenWeight, pair: Pair, model: ConditionalModel, preprocess: Preprocess
) -> Tensor | None:
    if not choice.labels:
        return None
    require_maps(model)
    if pair.fixed_labels is None:
        raise CompositionError(
            "λ by label needs the label map of the fixed image, which says where each label is: give --fixed-labels "
            "FILE, one number with --lambda, or a map with --lambda-map."
        )
    labels = tensor_of(pair.fixed_labels)[0]
    absent = sorted(set(choice.labels) - {int(code) for code in labels.unique()})
    if len(absent) == len(choice.labels):
        raise DataError(
            f"{called(pair.fixed_labels, 'fixed labels')} holds none of the labels that have a λ "
            f"({', '.join(map(str, absent))}); it holds "
            f"{', '.join(str(int(code)) for code in labels.unique())}."
        )
    return _through(preprocess, pair, labels, model, kind="label")


def _through(
    preprocess: Preprocess, pair: Pair, array: Tensor, model: ConditionalModel, *, kind: str
) -> Tensor:
    """Send an array (1, X, Y, Z) of the fixed grid the way of the fixed image; (1, 1, *S)."""
    affine = grid_of(pair.fixed).affine
    item: Any = {"image": MetaTensor(tensor_of(pair.fixed)[0], affine=affine)}
    item[kind] = MetaTensor(array, affine=affine)
    for step in preprocess.transform(()).transforms[1:]:  # the first one reads files
        item = step(item)
    plain = replace(
        preprocess,
        intensity=None,
        background=model.weight,
        crop_label=None,
        mask_input=False,
        alignment="world",
    )
    # The moving image does not matter here: any image on the same grid will do.
    other = {"image": item["image"], "affine": item["affine"]}
    return plain.prepare(dict(item), other, None).arrays[f"fixed_{kind}"].unsqueeze(0)
