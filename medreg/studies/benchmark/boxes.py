"""Box plots of whole methods: one panel a metric, one row a method, the best on top."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from medreg.reporting.panels import panels
from medreg.reporting.plots import draw_boxes, lay_rows
from medreg.reporting.style import METHOD_COLOURS, MUTED, REFERENCE_COLOUR
from medreg.reporting.tables import overall_structure, with_means
from medreg.reporting.vocabulary import heading

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROOM = 0.75  # of a box, of the distance of rows


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
    full = with_means(results)
    size = (1.6 + 2.9 * len(metrics), 0.9 + 0.36 * len(methods))
    with panels(1, len(metrics), size=size) as (figure, (axes,)):
        for axis, metric in zip(axes, metrics, strict=True):
            rows = full[(full["metric"] == metric) & (full["structure"] == overall_structure(full, metric))]
            for place, method in enumerate(methods):
                values = rows.loc[rows["method"] == method, "value"].to_numpy(dtype=float)
                values = values[np.isfinite(values)]
                colour = REFERENCE_COLOUR if method == reference else METHOD_COLOURS[0]
                draw_boxes(axis, [values], places=[place], width=ROOM, colour=colour, lying=True)
                if method == reference and len(values):
                    axis.axvline(float(np.median(values)), color=MUTED, linewidth=0.8, linestyle="--")
            unit = "" if rows.empty else str(rows["unit"].iloc[0])
            names = methods if axis is axes[0] else [""] * len(methods)
            lay_rows(axis, names, label=heading(metric, unit))
    return figure
