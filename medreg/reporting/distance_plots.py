"""Pictures of a trained distance: predicted against true distances, and landscapes, from the files of its run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from medreg.reporting.page import Section, figure
from medreg.reporting.panels import small_multiples
from medreg.reporting.pictures import Picture
from medreg.reporting.results import RunFolder
from medreg.reporting.style import INK, METHOD_COLOURS, MUTED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def distances(run: RunFolder) -> Iterator[Section]:
    """Calibration and landscapes of a trained distance; nothing where there are none."""
    found = []
    for name, title, draw, caption in (
        (
            "distances",
            "calibration",
            calibration,
            "Predicted against true distance; the line is where both agree.",
        ),
        (
            "landscapes",
            "landscapes",
            landscapes,
            "Distance along one parameter, the truth being at 0: mean over cases, and one standard deviation.",
        ),
    ):
        file = run.path / f"{name}.csv"
        rows = pd.read_csv(file) if file.is_file() else pd.DataFrame()
        if not rows.empty:
            found.append(Picture.of(draw(rows), title, caption=caption, alt=_text(rows, title)))
    if found:
        yield Section("Distance", tuple(map(figure, found)), tuple(found))


def calibration(rows: pd.DataFrame) -> Figure:
    """Points of predicted against true distance, a panel for each pair of contrasts, a colour for each method.

    Args:
        rows: contrast, method, truth_mm, predicted_mm.
    """
    limit = float(max(rows["truth_mm"].max(), rows["predicted_mm"].max())) * 1.03

    def panel(axis: Axes, own: pd.DataFrame) -> None:
        for colour, (method, points) in zip(METHOD_COLOURS, own.groupby("method", sort=False), strict=False):
            axis.scatter(
                points["truth_mm"],
                points["predicted_mm"],
                s=5,
                color=colour,
                alpha=0.35,
                edgecolors="none",
                label=str(method),
            )
        axis.plot([0, limit], [0, limit], color=INK, linewidth=0.8)
        axis.set(xlim=(0, limit), ylim=(0, limit), aspect="equal", xlabel="true distance (mm)")

    return _panels(rows, ["contrast"], panel, label="predicted distance (mm)")


def landscapes(rows: pd.DataFrame) -> Figure:
    """Curves of the distance, a panel for each parameter and pair of contrasts, a colour for each method.

    Args:
        rows: case, contrast, method, motion, unit, value, distance_mm.
    """

    def panel(axis: Axes, own: pd.DataFrame) -> None:
        for colour, (method, curve) in zip(METHOD_COLOURS, own.groupby("method", sort=False), strict=False):
            summary = curve.groupby("value")["distance_mm"].agg(["mean", "std"]).fillna(0.0)
            place, mean, spread = (
                np.asarray(summary.index),
                summary["mean"].to_numpy(),
                summary["std"].to_numpy(),
            )
            axis.plot(place, mean, color=colour, linewidth=1.4, label=str(method))
            axis.fill_between(place, mean - spread, mean + spread, color=colour, alpha=0.18, linewidth=0)
        axis.axvline(0, color=MUTED, linewidth=0.8, linestyle=":")
        axis.set_xlabel(f"{own['motion'].iloc[0]} ({own['unit'].iloc[0]})")

    return _panels(rows, ["motion", "contrast"], panel, label="distance (mm)")


def _panels(
    rows: pd.DataFrame, keys: list[str], draw: Callable[[Axes, pd.DataFrame], None], *, label: str
) -> Figure:
    """One panel for every group of rows, two a line, with one legend."""
    groups = list(rows.groupby(keys, sort=False))
    with small_multiples(len(groups), columns=2, size=(3.6, 2.9), margin=(0.4, 0.6)) as (figure, axes):
        for axis, (_, own) in zip(axes, groups, strict=True):
            draw(axis, own)
            axis.set_title(str(own["contrast"].iloc[0]), loc="left")
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper right", ncols=len(names), frameon=False)
        figure.supylabel(label, fontsize=9, color=INK)
    return figure


def _text(rows: pd.DataFrame, title: str) -> str:
    contrasts = ", ".join(str(name) for name in pd.unique(rows["contrast"]))
    return f"{title.capitalize()} of the distance for {contrasts}."
