"""The figure of a table: one panel a tested column, one line a row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medreg.reporting.panels import panels
from medreg.reporting.statistics import bootstrap_mean
from medreg.reporting.style import INK, METHOD_COLOURS, MUTED
from medreg.reporting.vocabulary import titled
from medreg.studies.table.estimates import TableResults, estimate, tested
from medreg.studies.table.sheets import PublishedNumbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS = 6


def table_figure(results: TableResults, published: PublishedNumbers) -> Figure | None:
    """Draw cases, seeds' means, the mean with its 95 % interval over cases, and the published value of each row.

    Returns:
        The figure, None if no column can be drawn.
    """
    columns = [c for c in tested(results.table) if any(estimate(results.values(r, c)) for r in results.rows)]
    if not columns:
        return None
    shown = columns[:PANELS]
    size = (3.1 * len(shown) + 1.4, 0.42 * len(results.rows) + 1.2)
    with panels(1, len(shown), size=size, sharey=True) as (figure, axes):
        for axis, column in zip(axes[0], shown, strict=True):
            _panel(axis, results, column, published)
        labels = [results.table.label(row) for row in results.rows]
        axes[0, 0].set_yticks(range(len(labels)), labels)
        axes[0, 0].set_ylim(len(labels) - 0.4, -0.6)
    return figure


def _panel(axis: Axes, results: TableResults, column: str, published: PublishedNumbers) -> None:
    for place, row in enumerate(results.rows):
        values = results.values(row, column)
        colour = METHOD_COLOURS[place % len(METHOD_COLOURS)]
        if estimate(values) is not None:
            by_case = values.mean(axis=1).dropna().to_numpy(dtype=float)
            seeds = values.mean(axis=0).dropna().to_numpy(dtype=float)
            interval = bootstrap_mean(by_case)
            axis.scatter(by_case, [place + 0.18] * len(by_case), s=7, color=colour, alpha=0.35, linewidths=0)
            axis.scatter(seeds, [place - 0.18] * len(seeds), s=14, marker="|", color=colour)
            axis.plot([interval.low, interval.high], [place, place], color=colour, linewidth=1.4)
            axis.plot(interval.mean, place, "o", color=colour, markersize=5)
        if (row, column) in published:
            axis.plot(published[row, column].value, place, "D", color=INK, markersize=4, fillstyle="none")
    spec = results.table.columns[column]
    axis.set_xlabel(titled(spec.title, results.unit(column), spec.direction))
    axis.grid(axis="x")
    axis.set_axisbelow(True)
    axis.tick_params(color=MUTED)
