"""Pictures of segmented images in a report: true and predicted outlines on the image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from medreg.reporting.case_pictures import cases_section
from medreg.reporting.page import Section
from medreg.reporting.results import RunFolder
from medreg.reporting.style import INK, LABEL_COLOURS, STYLE
from medreg.reporting.views import (
    Array,
    View,
    axis_codes,
    choose_centre,
    choose_slices,
    orthogonal_views,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NEEDS = ("image", "label", "prediction", "spacing_mm")
ROWS = {"label": "true", "prediction": "predicted"}
SLICES = 4  # of a stack
PANEL = 2.6  # inches
MANY_LABELS = 12  # beyond which names are left out
HINT = (
    "Above the true outlines, below those that were predicted. Slices are shown in stored order, volumes with the "
    "patient’s right on the left."
)


def cases(run: RunFolder) -> Iterator[Section]:
    """The chosen images of a run."""
    shown = "the image with true and with predicted outlines"
    yield from cases_section(run, draw, needs=NEEDS, shown=shown, hint=HINT)


def draw(arrays: Mapping[str, Array], title: str, labels: Mapping[int, str]) -> Figure:
    """Draw a case as it is stored in `cases/<case>.npz`: `image`, `label` and `prediction`, (*S) or (N, X, Y) each.

    Raises:
        ValueError: If the shapes do not belong to one case.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    if len({arrays[name].shape for name in NEEDS[:3]}) > 1:
        raise ValueError(f"image, label and prediction have shapes {[arrays[n].shape for n in NEEDS[:3]]}")
    planes = list(_planes(arrays))
    values = sorted({int(v) for name in ROWS for v in np.unique(arrays[name])} - {0})
    colours = {value: LABEL_COLOURS[i % len(LABEL_COLOURS)] for i, value in enumerate(values)}
    finite = arrays["image"][np.isfinite(arrays["image"])]
    low, high = np.percentile(finite, (0.5, 99.5)) if finite.size else (0.0, 1.0)
    tall = max(plane["image"].shape[0] / plane["image"].shape[1] * aspect for plane, aspect, _ in planes)
    with mpl.rc_context(STYLE):
        size = (PANEL * len(planes) + 0.3, 2 * PANEL * min(max(tall, 0.4), 2.0) + 0.9)
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(2, len(planes), squeeze=False)
        for column, (plane, aspect, name) in enumerate(planes):
            for row, (key, word) in enumerate(ROWS.items()):
                axis = axes[row, column]
                axis.imshow(plane["image"], cmap="gray", vmin=low, vmax=max(high, low + 1e-9), aspect=aspect)
                _outlines(axis, plane[key], colours)
                axis.set(xticks=[], yticks=[], title="" if row else name, ylabel="" if column else word)
        figure.suptitle(title, fontweight="bold", fontsize=11)
        if colours and len(colours) <= MANY_LABELS:
            _legend(figure, colours, labels)
    return figure


def _planes(arrays: Mapping[str, Array]) -> Iterator[tuple[dict[str, Array], float, str]]:
    """Flat arrays, height of a pixel by its width, and name of every view."""
    spacing = [float(value) for value in np.ravel(arrays["spacing_mm"])]
    image, label = arrays["image"], arrays["label"]
    if len(spacing) == 3 and image.ndim == 3:
        codes = axis_codes(arrays["affine"]) if "affine" in arrays else None
        views: Sequence[View] = orthogonal_views(choose_centre(image, label), orientation=codes)
        stacks = [dict(arrays)] * len(views)
    elif image.ndim == 2:
        views, stacks = [View()], [dict(arrays)]
    else:
        chosen = choose_slices(label if np.any(label) else image, SLICES)
        views = [replace(View(), name=f"slice {index}") for index in chosen]
        stacks = [{name: arrays[name][index] for name in NEEDS[:3]} for index in chosen]
    for view, own in zip(views, stacks, strict=True):
        height, width = view.spacing_mm(spacing)
        yield {name: view.flat(own[name]) for name in NEEDS[:3]}, height / width, view.name


def _outlines(axis: Axes, labels: Array, colours: Mapping[int, str]) -> None:
    for value, colour in colours.items():
        inside = labels == value
        if inside.any() and not inside.all() and min(inside.shape) > 1:
            axis.contour(inside.astype(float), levels=[0.5], colors=colour, linewidths=1.2)


def _legend(figure: Figure, colours: Mapping[int, str], labels: Mapping[int, str]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=colour, linewidth=2, label=labels.get(value, f"label {value}"))
        for value, colour in colours.items()
    ]
    figure.legend(handles=handles, loc="outside lower left", ncols=6, frameon=False, labelcolor=INK)
