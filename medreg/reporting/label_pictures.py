"""Pictures of segmented images in a report: true and predicted outlines on the image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from medreg.reporting.case_pictures import cases_section
from medreg.reporting.flat import flat_views
from medreg.reporting.overlays import MANY_LABELS, grey_scale, label_colours, label_handles, outline
from medreg.reporting.page import Section
from medreg.reporting.panels import panels
from medreg.reporting.results import RunFolder
from medreg.reporting.style import INK
from medreg.reporting.views import Array

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
    views = list(
        flat_views(
            {name: arrays[name] for name in NEEDS[:3]},
            image="image",
            label=arrays["label"],
            spacing_mm=arrays["spacing_mm"],
            affine=arrays.get("affine"),
            slices=SLICES,
        )
    )
    colours = label_colours(arrays[name] for name in ROWS)
    grey = grey_scale([arrays["image"]])
    tall = max(view.tall for view in views)
    size = (PANEL * len(views) + 0.3, 2 * PANEL * min(max(tall, 0.4), 2.0) + 0.9)
    with panels(2, len(views), size=size) as (figure, axes):
        for column, view in enumerate(views):
            for row, (key, word) in enumerate(ROWS.items()):
                axis, image = axes[row, column], view.arrays["image"]
                axis.imshow(image, cmap="gray", vmin=grey.low, vmax=grey.high, aspect=view.aspect)
                outline(axis, view.arrays[key], colours, width=1.2)
                axis.set(xticks=[], yticks=[], title="" if row else view.name, ylabel="" if column else word)
        figure.suptitle(title, fontweight="bold", fontsize=11)
        if colours and len(colours) <= MANY_LABELS:
            handles = label_handles(colours, labels)
            figure.legend(handles=handles, loc="outside lower left", ncols=6, frameon=False, labelcolor=INK)
    return figure
