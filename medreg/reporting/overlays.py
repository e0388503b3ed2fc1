"""Images and the labels on them: the grey range that is shown, colours and outlines of labels, their legend."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medreg.reporting.style import LABEL_COLOURS
from medreg.reporting.views import Array

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

MANY_LABELS = 12  # beyond which lines are thin and names are left out


@dataclass(frozen=True)
class Scale:
    """The range of grey values or colours that several panels share."""

    low: float
    high: float

    @property
    def width(self) -> float:
        """Length of the range."""
        return self.high - self.low

    def unit(self, array: Array) -> Array:
        """Map the range to [0, 1] without clipping."""
        return np.asarray((array.astype(float) - self.low) / self.width)


def grey_scale(arrays: Sequence[Array]) -> Scale:
    """The grey values between the 0.5th and the 99.5th percentile of all arrays together."""
    low, high = percentile(arrays, 0.5), percentile(arrays, 99.5)
    return Scale(low, high if high > low else low + 1.0)


def percentile(arrays: Sequence[Array], percent: float) -> float:
    """A percentile of the finite values of all arrays together, 0 without any."""
    values = np.concatenate([np.ravel(array).astype(float) for array in arrays])
    values = values[np.isfinite(values)]
    return float(np.percentile(values, percent)) if values.size else 0.0


def label_colours(maps: Iterable[Array]) -> dict[int, str]:
    """A colour for every label value of the maps but 0, by the order of the values."""
    values = sorted({int(value) for labels in maps for value in np.unique(labels)} - {0})
    return {value: LABEL_COLOURS[rank % len(LABEL_COLOURS)] for rank, value in enumerate(values)}


def outline(
    axis: Axes, labels: Array, colours: Mapping[int, str], *, width: float, colour: str | None = None
) -> None:
    """Draw the outline of every label of a plane, each in its own colour unless one is given."""
    for value, own in colours.items():
        inside = labels == value
        if inside.any() and not inside.all() and min(inside.shape) > 1:
            axis.contour(inside.astype(float), levels=[0.5], colors=colour or own, linewidths=width)


def label_handles(colours: Mapping[int, str], names: Mapping[int, str]) -> list[Artist]:
    """Entries of a legend of the label colours."""
    from matplotlib.lines import Line2D

    return [
        Line2D([], [], color=colour, linewidth=2, label=names.get(value, f"label {value}"))
        for value, colour in colours.items()
    ]
