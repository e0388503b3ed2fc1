"""Accuracy against smoothness of one conditional model over λ, beside models trained for one λ each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from medreg.reporting.panels import panels
from medreg.reporting.style import INK, METHOD_COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

NAMES = {
    "smoothness": "λ",
    "dice": "Dice",
    "sd_log_jacobian": "SD of log det J",
    "gradient_energy": "mean |∇u|² (less smooth →)",
}
PANELS = (("gradient_energy", "dice"), ("smoothness", "dice"), ("smoothness", "sd_log_jacobian"))


def smoothness_curve_figure(table: pd.DataFrame, *, title: str | None = None) -> Figure:
    """Draw Dice against gradient energy, and Dice and SD log det J against λ; the smoothnesses on log scales.

    The conditional model is a line through its λ, every retrained model a mark; both carry their λ in the first panel.

    Args:
        table: rows with kind, smoothness, dice, sd_log_jacobian, gradient_energy; the first kind is the conditional
            model.
        title: heading.
    """
    kinds = [str(kind) for kind in pd.unique(table["kind"])]
    with panels(1, len(PANELS), size=(10.2, 3.3)) as (figure, axes):
        for axis, (across, up) in zip(axes[0], PANELS, strict=True):
            for number, kind in enumerate(kinds):
                rows = table[table["kind"] == kind].sort_values("smoothness")
                _draw(axis, rows, across, up, colour=METHOD_COLOURS[number], line=number == 0, label=kind)
            axis.set_xlabel(NAMES[across])
            axis.set_ylabel(NAMES[up])
            axis.grid()
            axis.set_axisbelow(True)
        if (table["gradient_energy"] > 0).all():
            figure.axes[0].set_xscale("log")
            _few_numbers(figure.axes[0].xaxis)
        if (table["sd_log_jacobian"] > 0).all():
            figure.axes[-1].set_yscale("log")
            _few_numbers(figure.axes[-1].yaxis)
        figure.axes[1].legend(frameon=False)
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontweight="bold")
    return figure


def _few_numbers(axis: Axis) -> None:
    """1, 2, 5, 10, … on a log scale, written as numbers."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def _draw(
    axis: Axes, rows: pd.DataFrame, across: str, up: str, *, colour: str, line: bool, label: str
) -> None:
    x, y = rows[across].to_numpy(float), rows[up].to_numpy(float)
    axis.plot(
        x,
        y,
        color=colour,
        label=label,
        linewidth=1.4,
        marker="o" if line else "D",
        markersize=4 if line else 6,
        linestyle="-" if line else "none",
    )
    if across == "smoothness":
        return
    for smoothness, place in zip(rows["smoothness"], np.column_stack([x, y]), strict=True):
        offset = (4, -9) if line else (4, 5)
        axis.annotate(
            f"{smoothness:.3g}",
            place,
            xytext=offset,
            textcoords="offset points",
            fontsize=7,
            color=colour if line else INK,
        )
