"""What the adversary of a training did to one image: every stage of its chain, and what became of the prediction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from medreg.reporting.case_pictures import label_names
from medreg.reporting.flat import FlatView, flat_views
from medreg.reporting.overlays import (
    MANY_LABELS,
    grey_scale,
    label_colours,
    label_handles,
    outline,
    percentile,
)
from medreg.reporting.page import Section, figure, paragraph
from medreg.reporting.panels import panels
from medreg.reporting.pictures import Picture
from medreg.reporting.results import RunFolder, read_case
from medreg.reporting.style import INK
from medreg.reporting.views import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FILE = "adversary/attack.npz"
NEEDS = (
    "image",
    "label",
    "stages",
    "names",
    "before",
    "after",
    "divergence",
    "start",
    "end",
    "spacing_mm",
    "case",
)
PANEL = 2.1  # inches
WORDS = {
    "Noise": "noise", "BiasField": "bias field", "Morph": "deformation", "AffineMap": "affine map",
    "intensity": "intensities",
}  # fmt: skip
HINT = (
    "A validation image at the end of the training. All members of the adversary act in their listed order, though a "
    "step of the training may draw some of them. Predictions and divergence are shown in the frame of the clean image."
)


def adversary(run: RunFolder) -> Iterator[Section]:
    """The section, where a training has kept an attack."""
    file = run.path / FILE
    if not file.is_file():
        return
    arrays = read_case(file, NEEDS)
    drawn = draw(arrays, label_names(run.config, run.record))
    start, end = float(arrays["start"]), float(arrays["end"])
    caption = (
        f"{arrays['case']}: the divergence of the two predictions is {start:.4g} at the adversary’s random start and "
        f"{end:.4g} after its ascent."
    )
    stages = ", ".join(WORDS.get(str(name), str(name)) for name in arrays["names"])
    alt = f"An image, the same image after {stages}, the differences, and the prediction before and after."
    picture = Picture.of(drawn, "adversary", caption=caption, alt=alt, dpi=110)
    yield Section("What the adversary did", (paragraph(HINT, kind="hint"), figure(picture)), (picture,))


def draw(arrays: Mapping[str, Array], labels: Mapping[int, str]) -> Figure:
    """Draw an attack as it is stored in `adversary/attack.npz`; arrays (X, Y), `stages` (M, X, Y).

    Raises:
        ValueError: If the shapes do not belong to one slice.
    """
    shape = arrays["image"].shape
    maps = {name: arrays[name] for name in ("image", "label", "before", "after", "divergence")}
    if len(shape) != 2 or any(array.shape != shape for array in (*maps.values(), *arrays["stages"])):
        raise ValueError(f"the arrays of an attack have shapes {[array.shape for array in maps.values()]}")
    count = len(arrays["stages"])
    maps |= {f"stage{k}": arrays["stages"][k] for k in range(count)}
    spacing = arrays["spacing_mm"]
    view = next(iter(flat_views(maps, image="image", label=None, spacing_mm=spacing, affine=None, slices=1)))
    colours = label_colours(arrays[name] for name in ("label", "before", "after"))
    columns = count + 2
    size = (PANEL * columns + 0.4, 2 * PANEL * min(max(view.tall, 0.4), 2.0) + 1.0)
    with panels(2, columns, size=size) as (drawn, axes):
        _outlined(axes[0, 0], view, "label", colours, "clean, true outlines")
        _outlined(axes[1, 0], view, "before", colours, "prediction before")
        for k in range(count):
            word = str(arrays["names"][k])
            _stage(axes[:, k + 1], view, k, f"after {WORDS.get(word, word)}")
        _outlined(axes[0, -1], view, "after", colours, "prediction after")
        _heat(drawn, axes[1, -1], view)
        drawn.suptitle(str(arrays["case"]), fontweight="bold", fontsize=11)
        if colours and len(colours) <= MANY_LABELS:
            handles = label_handles(colours, labels)
            drawn.legend(handles=handles, loc="outside lower left", ncols=6, frameon=False, labelcolor=INK)
    return drawn


def _outlined(axis: Axes, view: FlatView, key: str, colours: Mapping[int, str], title: str) -> None:
    """The clean image with outlines."""
    _grey(axis, view, "image", title)
    outline(axis, view.arrays[key], colours, width=1.2)


def _stage(axes: Array, view: FlatView, k: int, title: str) -> None:
    """The image after a stage, and its difference to the one before."""
    _grey(axes[0], view, f"stage{k}", title)
    before = view.arrays["image" if k == 0 else f"stage{k - 1}"].astype(float)
    change = view.arrays[f"stage{k}"] - before
    reach = max(percentile([np.abs(change)], 99.5), 1e-6)
    axes[1].imshow(change, cmap="RdBu_r", vmin=-reach, vmax=reach, aspect=view.aspect)
    axes[1].set(xticks=[], yticks=[], title=f"difference, ±{reach:.2g}")


def _heat(drawn: Figure, axis: Axes, view: FlatView) -> None:
    """Where the predictions differ."""
    values = view.arrays["divergence"]
    shown = axis.imshow(
        values, cmap="magma", vmin=0.0, vmax=max(percentile([values], 99.5), 1e-6), aspect=view.aspect
    )
    axis.set(xticks=[], yticks=[], title="divergence (nat)")
    drawn.colorbar(shown, ax=axis, shrink=0.7)


def _grey(axis: Axes, view: FlatView, key: str, title: str) -> None:
    """An image on the grey scale of the clean one."""
    scale = grey_scale([view.arrays["image"]])
    axis.imshow(view.arrays[key], cmap="gray", vmin=scale.low, vmax=scale.high, aspect=view.aspect)
    axis.set(xticks=[], yticks=[], title=title)
