"""Pictures of a benchmark: one case by many methods, a row each, on shared scales."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from medreg.baselines.conversion import fitted
from medreg.data.datasets.learn2reg_config import PairPaths
from medreg.geometry.warp import warp
from medreg.io.field_learn2reg import read_learn2reg_field
from medreg.io.image import read_image, read_labels
from medreg.reporting.figures import CROP_MARGIN_MM, draw_planes
from medreg.reporting.overlays import label_colours
from medreg.reporting.pictures import Picture
from medreg.reporting.planes import Plane, crop, pair_arrays, planes_of
from medreg.reporting.views import Array, axis_codes
from medreg.studies.benchmark.judging import Judged
from medreg.studies.benchmark.plan import Benchmark

MOST = 12  # rows of a picture


def case_picture(
    benchmark: Benchmark, judged: Judged, pair: PairPaths, order: Sequence[str]
) -> Picture | None:
    """Draw one case of all methods that have its field, a row each; None where no method has.

    The plane is the first of the three orthogonal ones through the labels. All rows share their scales.
    """
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
    planes: list[Plane] = []
    for name, file in files.items():
        displacement = read_learn2reg_field(file).displacement
        carried = None if labels[1] is None else _warped(labels[1], displacement, mode="nearest")
        arrays = pair_arrays(
            fixed.array,
            shown,
            warped=_warped(moving.array, displacement),
            displacement=displacement,
            spacing_mm=np.linalg.norm(inputs.affine[:3, :3], axis=0),
            labels={"fixed": labels[0], "moving": labels[1], "warped": carried},
        )
        plane = planes_of(arrays, orientation=axis_codes(inputs.affine), slices=1)[0]
        planes.append(replace(plane, name=name))
    planes = crop(planes, margin_mm=CROP_MARGIN_MM)
    colours = label_colours(label for plane in planes for label in plane.labels.values())
    title = f"{benchmark.config.name}, {pair.case}"
    figure = draw_planes(planes, colours=colours, title=title, label_names={})
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
