"""Sections of reports; they read the files of a run and need no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.figure import Figure

from medreg.reporting.page import Section, figure, paragraph
from medreg.reporting.pictures import Picture
from medreg.reporting.results import RunFolder, read_case


def spread(run: RunFolder) -> Iterator[Section]:
    """How far the draws of a sampler are from one another."""
    for file in run.cases[:1]:
        std = read_case(file, ["displacement_std"])["displacement_std"]
        told = f"On average {std.mean():.3f} voxels."
        picture = _row([np.linalg.norm(one, axis=0) for one in std], ["standard deviation"], "spread")
        yield Section("Spread of the draws", (paragraph(told), figure(picture)), (picture,))


def shapes(run: RunFolder) -> Iterator[Section]:
    """A label map, its reconstruction and a new one."""
    names = ["label", "reconstruction", "generated"]
    for file in run.cases[:1]:
        maps = read_case(file, names)
        picture = _row([maps[name].reshape(-1, *maps[name].shape[-2:])[0] for name in names], names, "shapes")
        yield Section("Shapes", (figure(picture),), (picture,))


def _row(planes: Sequence[np.ndarray], titles: Sequence[str], name: str) -> Picture:
    drawing = Figure(figsize=(3 * len(planes), 3), layout="constrained")
    axes = drawing.subplots(1, len(planes), squeeze=False)[0]
    for axis, plane, title in zip(axes, planes, [*titles, *[""] * len(planes)], strict=False):
        axis.imshow(plane.T)
        axis.set(xticks=[], yticks=[], title=title)
    return Picture.of(drawing, name, caption=", ".join(titles), alt=", ".join(titles))
