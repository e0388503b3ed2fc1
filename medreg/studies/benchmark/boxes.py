"""Box plots of whole methods: one panel a metric, one row a method, the best on top."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from medreg.reporting.planes import Array
from medreg.reporting.style import INK, METHOD_COLOURS, MUTED, REFERENCE_COLOUR, STYLE
from medreg.reporting.tables import overall_structure, with_means
from medreg.reporting.vocabulary import heading

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FEW = 40  # cases up to which each is a dot


def method_boxes(
    results: pd.DataFrame, *, metrics: Sequence[str], methods: Sequence[str], reference: str | None = None
) -> Figure:
    """Draw the distribution over cases of each metric for each method.

    Boxes span the quartiles with the median as a line; whiskers reach to the last case within 1.5 box lengths;
    with few cases each is a dot, otherwise those beyond the whiskers are. NaN is left out. A dashed line marks the
    median of the reference.

    Args:
        results: rows with the columns of results.csv; the mean over structures of a case is taken.
        metrics: one panel each.
        methods: from top to bottom.
        reference: the unregistered state among them, drawn in grey.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    full = with_means(results)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(1.6 + 2.9 * len(metrics), 0.9 + 0.36 * len(methods)), layout="constrained")
        axes = figure.subplots(1, len(metrics), squeeze=False)[0]
        for axis, metric in zip(axes, metrics, strict=True):
            rows = full[(full["metric"] == metric) & (full["structure"] == overall_structure(full, metric))]
            for place, method in enumerate(methods):
                values = rows.loc[rows["method"] == method, "value"].to_numpy(dtype=float)
                values = values[np.isfinite(values)]
                colour = REFERENCE_COLOUR if method == reference else METHOD_COLOURS[0]
                if len(values):
                    _box(axis, values, place=place, colour=colour)
                if method == reference and len(values):
                    axis.axvline(float(np.median(values)), color=MUTED, linewidth=0.8, linestyle="--")
            axis.set_yticks(range(len(methods)), methods if axis is axes[0] else [""] * len(methods))
            axis.set_ylim(len(methods) - 0.4, -0.6)
            axis.set_xlabel(heading(metric, "" if rows.empty else str(rows["unit"].iloc[0])))
            axis.grid(axis="x")
            axis.set_axisbelow(True)
    return figure


def _box(axis: Axes, values: Array, *, place: int, colour: str) -> None:
    """One lying box, with a dot a case where there are few."""
    axis.boxplot(
        [values],
        positions=[place],
        widths=0.62,
        orientation="horizontal",
        patch_artist=True,
        showfliers=len(values) > FEW,
        manage_ticks=False,
        boxprops={"facecolor": colour, "alpha": 0.4, "edgecolor": colour, "linewidth": 0.9},
        medianprops={"color": INK, "linewidth": 1.4},
        whiskerprops={"color": colour, "linewidth": 0.9},
        capprops={"color": colour, "linewidth": 0.9},
        flierprops={"marker": "o", "markersize": 2.2, "markeredgecolor": colour},
    )
    if len(values) <= FEW:
        # A fixed pattern instead of random jitter: the same results give the same picture.
        across = place + (np.arange(len(values)) * 0.618 % 1.0 - 0.5) * 0.3
        axis.scatter(values, across, s=7, color=colour, edgecolors="white", linewidths=0.3, zorder=3)
