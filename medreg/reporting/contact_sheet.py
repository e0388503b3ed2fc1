"""Many images on one sheet: a look at a data set, or at one panel of many cases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from medreg.reporting.planes import Array
from medreg.reporting.style import LABEL_COLOURS, STYLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL = 1.7  # inches


def contact_sheet(
    images: Sequence[Array],
    *,
    titles: Sequence[str] = (),
    labels: Sequence[Array | None] = (),
    spacing_mm: Sequence[float] = (1.0, 1.0),
    columns: int = 6,
    title: str | None = None,
) -> Figure:
    """Show slices side by side, each with its own grey range, in stored order (axis 1 runs down).

    Args:
        images: Slices (X, Y); they may differ in size.
        titles: A line above each, or none.
        labels: Integer label maps drawn as contours, one for each image; None where there is none.
        spacing_mm: Pixel spacing along the two axes, mm.
        columns: Images in a row.
        title: Heading of the sheet.

    Raises:
        ValueError: If there is no image, or an image is not 2-D.
    """
    if not images or any(np.ndim(image) != 2 for image in images):
        raise ValueError("contact_sheet needs at least one image, and every image as a slice (X, Y)")
    import matplotlib as mpl
    from matplotlib.figure import Figure

    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    aspect = spacing_mm[1] / spacing_mm[0]
    tall = min(max(np.shape(images[0])[1] / np.shape(images[0])[0] * aspect, 0.4), 2.0)
    values = sorted({int(v) for label in labels if label is not None for v in np.unique(label)} - {0})
    with mpl.rc_context(STYLE):
        size = (columns * PANEL, rows * (PANEL * tall + 0.25 * bool(titles)) + 0.35 * bool(title))
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for i, axis in enumerate(axes):
            axis.set_axis_off()
            if i < len(images):
                label = labels[i] if i < len(labels) else None
                _thumbnail(axis, np.asarray(images[i], dtype=float), label, values=values, aspect=aspect)
                axis.set_title(titles[i] if i < len(titles) else "", fontsize=8)
        if title:
            figure.suptitle(title, fontweight="bold", fontsize=11)
    return figure


def _thumbnail(
    axis: Axes, image: Array, label: Array | None, *, values: Sequence[int], aspect: float
) -> None:
    finite = image[np.isfinite(image)]
    low, high = np.percentile(finite, (0.5, 99.5)) if finite.size else (0.0, 1.0)
    axis.imshow(image.T, cmap="gray", vmin=low, vmax=max(high, low + 1e-9), aspect=aspect)
    if label is None:
        return
    for rank, value in enumerate(values):
        inside: Array = np.equal(np.asarray(label).T, value)
        if inside.any() and not inside.all() and min(inside.shape) > 1:
            colour = LABEL_COLOURS[rank % len(LABEL_COLOURS)]
            axis.contour(inside.astype(float), levels=[0.5], colors=colour, linewidths=0.9)
