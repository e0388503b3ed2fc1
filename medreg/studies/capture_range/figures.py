"""Figures of a capture range: share of successes and residuals against the misalignment at the start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from medreg.reporting.panels import panels
from medreg.reporting.style import METHOD_COLOURS, MUTED, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

UNITS = {
    "rotation": "degrees",
    "translation": "half-extents",
    "scale": "log-scale",
    "shear": "shear",
    "joint": "RMS displacement",
}
DASHES = ("-", "--", ":")  # more measures than colours


def draw_success(bins: pd.DataFrame, path: Path, *, share: float) -> Path:
    """Draw the share of successes of every measure in every bin, one panel a family, with intervals.

    Args:
        bins: columns title, family, low, high, success, success_low, success_high.
        path: of the figure.
        share: least share of a captured bin, a line.
    """

    def panel(axis: Axes, group: pd.DataFrame, look: dict[str, Any]) -> None:
        middle = ((group["low"] + group["high"]) / 2).to_numpy()
        axis.plot(middle, group["success"], marker="o", markersize=3, linewidth=1.2, **look)
        axis.fill_between(
            middle, group["success_low"], group["success_high"], color=look["color"], alpha=0.12, linewidth=0
        )

    def frame(axis: Axes) -> None:
        axis.axhline(share, color=MUTED, linewidth=0.7, linestyle="--")
        axis.set_ylim(-0.03, 1.03)
        axis.set_ylabel("share of successes")

    return _panels(bins, path, panel, frame)


def draw_residuals(bins: pd.DataFrame, path: Path, *, unit: str, threshold: float) -> Path:
    """Draw the median residual of every measure in every bin, one panel a family, on a logarithmic axis.

    Args:
        bins: columns title, family, low, high, median_final, median_start.
        path: of the figure.
        unit: of residuals.
        threshold: largest residual of a success, a line.
    """

    def panel(axis: Axes, group: pd.DataFrame, look: dict[str, Any]) -> None:
        middle = ((group["low"] + group["high"]) / 2).to_numpy()
        values = np.maximum(group["median_final"].to_numpy(), 1e-3)
        axis.plot(middle, values, marker="o", markersize=3, linewidth=1.2, **look)

    def frame(axis: Axes) -> None:
        axis.axhline(threshold, color=MUTED, linewidth=0.7, linestyle="--")
        axis.set_yscale("log")
        axis.set_ylabel(f"median residual ({unit})")

    return _panels(bins, path, panel, frame)


def looks(titles: list[str]) -> dict[str, dict[str, Any]]:
    """Colour and dash of every title, the same in all figures of one set of measures."""
    count = len(METHOD_COLOURS)
    return {
        title: {"color": METHOD_COLOURS[k % count], "linestyle": DASHES[k // count % len(DASHES)]}
        for k, title in enumerate(titles)
    }


def _panels(
    bins: pd.DataFrame,
    path: Path,
    panel: Callable[[Axes, pd.DataFrame, dict[str, Any]], None],
    frame: Callable[[Axes], None],
) -> Path:
    families = list(dict.fromkeys(bins["family"]))
    style = looks(list(dict.fromkeys(bins["title"])))
    with panels(1, len(families), size=(2.9 * len(families) + 1.4, 2.9)) as (figure, axes):
        for axis, family in zip(axes[0], families, strict=True):
            of_family = bins[bins["family"] == family]
            for title, group in of_family.groupby("title", sort=False):
                panel(axis, group.sort_values("low"), {**style[str(title)], "label": str(title)})
            frame(axis)
            axis.set_title(family)
            axis.set_xlabel(UNITS.get(str(family), ""))
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right center", frameon=False)
        return save(figure, path)
