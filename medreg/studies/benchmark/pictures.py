"""Pictures of a benchmark: one case, a row a method."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from medreg.baselines.conversion import fitted
from medreg.data.datasets.learn2reg_config import PairPaths
from medreg.geometry.warp import warp
from medreg.io.field_learn2reg import read_learn2reg_field
from medreg.io.image import read_image, read_labels
from medreg.reporting.pictures import Picture
from medreg.reporting.planes import Array
from medreg.studies.benchmark.judging import Judged
from medreg.studies.benchmark.plan import Benchmark
from medreg.studies.benchmark.rows_table import MethodResult, method_rows

MOST = 12  # rows of a picture


def case_picture(
    benchmark: Benchmark, judged: Judged, pair: PairPaths, order: Sequence[str]
) -> Picture | None:
    """Draw one case of all methods that have its field; None where no method has."""
    folders = {entry.name: entry.folder for entry in judged.entries}
    files = {name: folders[name].field(pair) for name in order[:MOST]}
    files = {name: file for name, file in files.items() if file.is_file()}
    if not files:
        return None
    with tempfile.TemporaryDirectory() as scratch:
        inputs = benchmark.cases.prepared(benchmark.task, pair, Path(scratch), takes_masks=True)
        fixed, moving = read_image(inputs.fixed), read_image(inputs.moving)
    labels = [_labels(benchmark.task, name) for name in (pair.fixed, pair.moving)]
    shown = fitted(moving.array, fixed.shape)
    if any(label is None or label.shape != fixed.shape for label in labels):
        labels = [None, None]
    results = []
    for name, file in files.items():
        displacement = read_learn2reg_field(file).displacement
        results.append(
            MethodResult(
                name,
                _warped(moving.array, displacement),
                displacement,
                None if labels[1] is None else _warped(labels[1], displacement, mode="nearest"),
            )
        )
    figure = method_rows(
        fixed.array,
        shown,
        results,
        affine=inputs.affine,
        fixed_label=labels[0],
        moving_label=labels[1],
        title=f"{benchmark.config.name}, {pair.case}",
    )
    caption = (
        f"{pair.case}. Left to right: fixed, moving and warped image, differences before and after, the grid, the "
        "Jacobian determinant. One slice through the structures; white lines are the outlines of the fixed image."
    )
    alt = f"One row a method for {pair.case}: {', '.join(files)}."
    return Picture.of(figure, f"case_{pair.stem}", caption=caption, alt=alt, dpi=110)


def _labels(task: Path, name: str) -> Array | None:
    file = task / name.replace("images", "labels")
    return read_labels(file).array if file.is_file() else None


def _warped(array: Array, displacement: Array, *, mode: Literal["linear", "nearest"] = "linear") -> Array:
    """Return an array at x + u(x), index to index; zero outside."""
    image = torch.from_numpy(np.ascontiguousarray(array))[None, None]
    image = image if mode == "nearest" else image.float()
    field = torch.from_numpy(np.ascontiguousarray(displacement))[None]
    return np.asarray(warp(image, field, mode=mode, padding="zeros")[0, 0].numpy())
