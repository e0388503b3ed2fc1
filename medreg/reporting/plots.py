"""Plots of numbers: box plots per structure, and curves of training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from medreg.reporting.panels import panels, small_multiples
from medreg.reporting.style import INK, METHOD_COLOURS, MUTED, REFERENCE_COLOUR
from medreg.reporting.tables import OVERALL, methods_in
from medreg.reporting.views import Array
from medreg.reporting.vocabulary import UNREGISTERED, heading

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FEW_STRUCTURES = 8  # up to here boxes stand upright; more lie on their side, where long names stay readable
FEW_CASES = 40  # up to here every case is a dot
STAGE_COLOURS = {"train": METHOD_COLOURS[0], "val": METHOD_COLOURS[1]}
BOX = 0.7  # width of all boxes of one structure together


def box_plots(results: pd.DataFrame, *, metric: str, title: str | None = None) -> Figure | None:
    """Box plots of one metric, one group of boxes a structure and one colour a method.

    Boxes span the quartiles with the median as a line; whiskers reach to the last case within 1.5 box
    lengths; with few cases every case is a dot, otherwise only those beyond the whiskers. NaN is left out.

    Args:
        results: Rows of one data set and split.
        metric: Metric to show.
        title: Heading of the figure.

    Returns:
        The figure, or None if no structure has a finite value.
    """
    rows = results[(results["metric"] == metric) & np.isfinite(results["value"])]
    own = rows[~rows["structure"].isin(OVERALL)]
    rows = own if not own.empty else rows
    if rows.empty:
        return None
    structures = [str(name) for name in pd.unique(rows["structure"])]
    methods = methods_in(rows)
    width = BOX / len(methods)
    lying = len(structures) > FEW_STRUCTURES
    each = 0.13 * len(methods) + 0.1
    size = (
        (8.6, each * len(structures) + 1.1)
        if lying
        else (1.3 + 0.27 * (len(methods) + 0.2) * max(len(structures), 2), 3.4)
    )
    with panels(1, 1, size=size) as (figure, axes):
        axis = axes[0, 0]
        for i, method in enumerate(methods):
            chosen = rows[rows["method"] == method]
            data = [chosen.loc[chosen["structure"] == name, "value"].to_numpy(float) for name in structures]
            places = np.arange(len(data)) + (i - (len(methods) - 1) / 2) * width
            draw_boxes(axis, data, places=places, width=width, colour=_colour(methods, method), lying=lying)
        label = heading(metric, str(rows["unit"].iloc[0]))
        _name_structures(axis, structures, label=label, lying=lying)
        _method_legend(figure, methods)
        if title:
            axis.set_title(title, loc="left", fontweight="bold")
    return figure


def training_curves(history: pd.DataFrame, *, limit: int = 12) -> Figure | None:
    """Small multiples of all scalars over training steps; training and validation of one name share a panel.

    Args:
        history: Rows step, epoch, name ("train/loss"), value.
        limit: The most panels; the loss and the Dice come first, the rest in alphabetical order.

    Returns:
        The figure, or None if there is nothing finite to show.
    """
    rows = history[np.isfinite(history["value"]) & np.isfinite(history["step"])]
    if rows.empty:
        return None
    groups = _groups([str(name) for name in pd.unique(rows["name"])])[:limit]
    columns = 2 if len(groups) == 4 else 3
    with small_multiples(len(groups), columns=columns, size=(3.4, 2.2), margin=(0.4, 0.5)) as (figure, axes):
        for axis, (name, sources) in zip(axes, groups, strict=True):
            for source in sources:
                stage = source.split("/")[0]
                colour = STAGE_COLOURS.get(stage, METHOD_COLOURS[2])
                _curve(axis, rows[rows["name"] == source], colour=colour, label=stage)
            axis.set_title(name if len(sources) > 1 else sources[0], loc="left")
            axis.grid(axis="y")
            if len(sources) > 1:
                axis.legend(frameon=False, fontsize=7)
        figure.supxlabel("training step", fontsize=9, color=INK)
    return figure


def draw_boxes(
    axis: Axes,
    data: Sequence[Array],
    *,
    places: Sequence[float] | Array,
    width: float,
    colour: str,
    lying: bool,
    dots: bool = True,
) -> None:
    """Draw a box for every array of values that is not empty, and where there are few values a dot for each.

    Args:
        axis: where.
        data: finite values of each box.
        places: of the boxes, across their length.
        width: room of a box, of which it fills most.
        colour: of the boxes.
        lying: whether they lie on their side.
        dots: whether few values may be shown as dots.
    """
    filled = [(place, values) for place, values in zip(places, data, strict=True) if len(values)]
    few = dots and max((len(values) for _, values in filled), default=0) <= FEW_CASES
    if not filled:
        return
    axis.boxplot(
        [values for _, values in filled],
        positions=[place for place, _ in filled],
        widths=width * 0.82,
        orientation="horizontal" if lying else "vertical",
        patch_artist=True,
        showfliers=not few,
        manage_ticks=False,
        boxprops={"facecolor": colour, "alpha": 0.45, "edgecolor": colour, "linewidth": 0.9},
        medianprops={"color": INK, "linewidth": 1.4},
        whiskerprops={"color": colour, "linewidth": 0.9},
        capprops={"color": colour, "linewidth": 0.9},
        flierprops={"marker": "o", "markersize": 2.2, "markeredgecolor": colour, "alpha": 0.7},
    )
    if few:
        for place, values in filled:
            # A fixed pattern instead of random jitter: the same results give the same picture.
            across = place + (np.arange(len(values)) * 0.618 % 1.0 - 0.5) * width * 0.5
            x, y = (values, across) if lying else (across, values)
            axis.scatter(x, y, s=7, color=colour, edgecolors="white", linewidths=0.3, zorder=3)


def lay_rows(axis: Axes, names: Sequence[str], *, label: str) -> None:
    """Name the rows of boxes or dots that lie on their side, the first on top."""
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.set_xlabel(label)
    axis.grid(axis="x")
    axis.set_axisbelow(True)


def _name_structures(axis: Axes, structures: Sequence[str], *, label: str, lying: bool) -> None:
    if lying:
        lay_rows(axis, structures, label=label)
        return
    axis.set_xticks(range(len(structures)), structures)
    axis.set_xlim(-0.6, len(structures) - 0.4)
    axis.set_ylabel(label)
    axis.grid(axis="y")
    if sum(len(name) for name in structures) > 14 * len(structures):
        axis.tick_params(axis="x", rotation=25)
    axis.set_axisbelow(True)


def _method_legend(figure: Figure, methods: Sequence[str]) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(color=_colour(methods, method), alpha=0.6, label=method) for method in methods]
    figure.legend(handles=handles, loc="outside upper right", ncols=min(len(methods), 4), frameon=False)


def _colour(methods: Sequence[str], method: str) -> str:
    if method == UNREGISTERED:
        return REFERENCE_COLOUR
    others = [name for name in methods if name != UNREGISTERED]
    return METHOD_COLOURS[others.index(method) % len(METHOD_COLOURS)]


def _groups(names: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Group "train/loss" and "val/loss" under "loss"; the most wanted first."""
    groups: dict[str, list[str]] = {}
    for name in sorted(names):
        groups.setdefault(name.split("/", 1)[-1], []).append(name)
    return sorted(groups.items(), key=lambda item: (item[0] != "loss", "dice" not in item[0], item[0]))


def _curve(axis: Axes, rows: pd.DataFrame, *, colour: str, label: str) -> None:
    ordered = rows.sort_values("step")
    steps, values = ordered["step"].to_numpy(float), ordered["value"].to_numpy(float)
    if len(values) <= 60:
        axis.plot(steps, values, color=colour, linewidth=1.3, marker="o", markersize=2.5, label=label)
    else:
        axis.plot(steps, values, color=colour, linewidth=0.6, alpha=0.3)
        window = max(len(values) // 50, 2)
        smooth = pd.Series(values).rolling(window, min_periods=1, center=True).mean()
        axis.plot(steps, smooth, color=colour, linewidth=1.4, label=f"{label} (mean of {window})")
    axis.tick_params(color=MUTED)
