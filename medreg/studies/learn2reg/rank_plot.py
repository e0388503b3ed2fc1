"""Plot of a ranking: how often each method has each place when cases are drawn again, and who beats whom."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medreg.reporting.panels import panels
from medreg.reporting.style import INK, METHOD_COLOURS, MUTED
from medreg.studies.learn2reg.bootstrap import Stability
from medreg.studies.learn2reg.ranking import TaskRanking

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LARGEST = 260.0  # points², area of the dot of a place that a method always has
SMALLEST_SHARE = 0.005  # below it no dot is drawn


def rank_plot(task: TaskRanking, *, stability: Stability | None = None) -> Figure:
    """Draw scores with intervals, the share of draws of each place, and significant differences.

    Args:
        task: the ranking.
        stability: draws of cases; without them the middle panel is left out and scores have no intervals.
    """
    order = np.argsort(task.places, kind="stable")
    number = len(order)
    names = [task.methods[k] for k in order]
    count = 3 if stability is not None else 2
    size = (2.2 + 2.7 * count + 0.1 * number, 1.3 + 0.34 * number)
    with panels(1, count, size=size) as (figure, (axes,)):
        _scores(axes[0], task, order, stability)
        axes[0].set_yticks(range(number), names)
        for axis in axes[1:]:
            axis.set_yticks(range(number), [""] * number)
        if stability is not None:
            _places(axes[1], stability, order)
        _significance(axes[-1], task, order)
        for axis in axes:
            axis.set_ylim(number - 0.4, -0.6)
        figure.suptitle(f"{task.task}, {len(task.items.cases)} cases", x=0.01, ha="left", fontweight="bold")
    return figure


def _scores(axis: Axes, task: TaskRanking, order: np.ndarray, stability: Stability | None) -> None:
    rows = np.arange(len(order))
    if stability is not None:
        axis.hlines(
            rows,
            stability.low[order],
            stability.high[order],
            color=METHOD_COLOURS[0],
            linewidth=3,
            alpha=0.35,
        )
    axis.plot(task.scores[order], rows, "o", color=METHOD_COLOURS[0], markersize=5)
    axis.set_xlim(0.05, 1.03)
    axis.grid(axis="x")
    axis.set_title("rank score" + (", 95 % of draws" if stability is not None else ""), loc="left")


def _places(axis: Axes, stability: Stability, order: np.ndarray) -> None:
    share = stability.rank_share[order]
    rows, places = np.nonzero(share >= SMALLEST_SHARE)
    axis.scatter(
        places + 1, rows, s=LARGEST * share[rows, places], color=METHOD_COLOURS[1], alpha=0.75, linewidths=0
    )
    axis.set_xlim(0.4, len(order) + 0.6)
    axis.set_xticks(range(1, len(order) + 1))
    axis.grid()
    axis.set_axisbelow(True)
    axis.set_title(f"place, share of {stability.draws} draws", loc="left")


def _significance(axis: Axes, task: TaskRanking, order: np.ndarray) -> None:
    """In how many factors the method of the row is significantly better than that of the column."""
    unique = {found.factor.name: found.better for found in task.factors}
    count = np.sum([wins[np.ix_(order, order)] for wins in unique.values()], axis=0)
    axis.imshow(count, cmap="Blues", vmin=0, vmax=max(len(unique), 1) * 1.4, aspect="auto")
    for i, j in zip(*np.nonzero(count), strict=True):
        axis.text(j, i, str(count[i, j]), ha="center", va="center", fontsize=7, color=INK)
    axis.set_xticks(range(len(order)), [str(place) for place in range(1, len(order) + 1)], color=MUTED)
    axis.set_title(f"better than no. …, in how many of {len(unique)} metrics", loc="left")
