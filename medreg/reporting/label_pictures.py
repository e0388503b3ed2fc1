"""Pictures of segmented images in a report: true and predicted outlines on the image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from medreg.reporting.case_pictures import cases_section
from medreg.reporting.overlays import MANY_LABELS, grey_scale, label_colours, label_handles, outline
from medreg.reporting.page import Section
from medreg.reporting.panels import panels
from medreg.reporting.results import RunFolder
from medreg.reporting.style import INK
from medreg.reporting.views import (
    Array,
    View,
    axis_codes,
    choose_centre,
    choose_slices,
    orthogonal_views,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NEEDS = ("image", "label", "prediction", "spacing_mm")
ROWS = {"label": "true", "prediction": "predicted"}
SLICES = 4  # of a stack
PANEL = 2.6  # inches
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
    if len({arrays[name].shape for name in NEEDS[:3]}) > 1:
        raise ValueError(f"image, label and prediction have shapes {[arrays[n].shape for n in NEEDS[:3]]}")
    planes = list(_planes(arrays))
    colours = label_colours(arrays[name] for name in ROWS)
    grey = grey_scale([arrays["image"]])
    tall = max(plane["image"].shape[0] / plane["image"].shape[1] * aspect for plane, aspect, _ in planes)
    size = (PANEL * len(planes) + 0.3, 2 * PANEL * min(max(tall, 0.4), 2.0) + 0.9)
    with panels(2, len(planes), size=size) as (figure, axes):
        for column, (plane, aspect, name) in enumerate(planes):
            for row, (key, word) in enumerate(ROWS.items()):
                axis = axes[row, column]
                axis.imshow(plane["image"], cmap="gray", vmin=grey.low, vmax=grey.high, aspect=aspect)
                outline(axis, plane[key], colours, width=1.2)
                axis.set(xticks=[], yticks=[], title="" if row else name, ylabel="" if column else word)
        figure.suptitle(title, fontweight="bold", fontsize=11)
        if colours and len(colours) <= MANY_LABELS:
            handles = label_handles(colours, labels)
            figure.legend(handles=handles, loc="outside lower left", ncols=6, frameon=False, labelcolor=INK)
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
