"""Figures of calibration: coverage, rank histograms, sparsification, reliability."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from medreg.reporting.panels import panels, small_multiples
from medreg.reporting.style import METHOD_COLOURS, MUTED, PALE, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLES = {"coverage": "mean and SD", "coverage_ranks": "samples"}
COLUMNS_OF_PANELS = 3


def draw_all(curves: pd.DataFrame, folder: Path) -> list[Path]:
    """Draw what the curves hold and return the files, PNG."""
    colours = {
        name: METHOD_COLOURS[k % len(METHOD_COLOURS)]
        for k, name in enumerate(dict.fromkeys(curves["method"]))
    }
    makers = {
        "coverage": draw_coverage,
        "ranks": draw_ranks,
        "sparsification": draw_sparsification,
        "reliability": draw_reliability,
    }
    made = {name: maker(curves, colours) for name, maker in makers.items()}
    return [save(figure, folder / f"{name}.png") for name, figure in made.items() if figure is not None]


def draw_coverage(curves: pd.DataFrame, colours: Mapping[str, str]) -> Figure | None:
    """Coverage minus level against the level, with bands of two standard errors; below 0 is too sure."""
    kinds = [kind for kind in TITLES if (curves["kind"] == kind).any()]
    if not kinds:
        return None
    with panels(1, len(kinds), size=(3.4 * len(kinds) + 1.6, 3.2), sharey=True) as (figure, axes):
        for axis, kind in zip(axes[0], kinds, strict=True):
            axis.axhline(0, color=MUTED, linewidth=0.8)
            for name, rows in _by_method(curves, kind):
                _line(axis, rows, colours[name], name, shift=rows["ideal"])
            axis.set_title(f"intervals of {TITLES[kind]}")
            axis.set_xlabel("level p")
        axes[0][0].set_ylabel("coverage − p")
        _legend(figure, axes[0][0])
    return figure


def draw_ranks(curves: pd.DataFrame, colours: Mapping[str, str]) -> Figure | None:
    """Histogram of the truth among the samples, or of Φ(z) without samples, one panel a method; 1 is right."""
    kind = "ranks" if (curves["kind"] == "ranks").any() else "transform"
    found = _by_method(curves, kind)
    if not found:
        return None
    size, margin = (2.5, 1.9), (0.4, 0.3)
    with small_multiples(len(found), columns=COLUMNS_OF_PANELS, size=size, margin=margin) as (figure, axes):
        for axis, (name, rows) in zip(axes, found, strict=True):
            width = 1 / len(rows)
            axis.bar(rows["position"], rows["value"], width=0.95 * width, color=colours[name], alpha=0.8)
            axis.errorbar(
                rows["position"], rows["value"], 2 * rows["error"], fmt="none", ecolor=MUTED, linewidth=0.7
            )
            axis.axhline(1, color=MUTED, linewidth=0.8, linestyle="--")
            axis.set_title(name)
            axis.set_xlabel("rank / number" if kind == "ranks" else "Φ(z)")
    return figure


def draw_sparsification(curves: pd.DataFrame, colours: Mapping[str, str]) -> Figure | None:
    """Mean error of what is left against the share removed, the most uncertain first; dashed: by the error itself."""
    found = _by_method(curves, "sparsification")
    if not found:
        return None
    with panels(1, 1, size=(5.2, 3.2)) as (figure, axes):
        axis = axes[0][0]
        axis.axhline(1, color=PALE, linewidth=1.2)
        for name, rows in found:
            _line(axis, rows, colours[name], name)
            axis.plot(rows["position"], rows["ideal"], color=colours[name], linewidth=0.8, linestyle="--")
        axis.set_xlabel("share of voxels removed, most uncertain first")
        axis.set_ylabel("error of the rest / of all")
        _legend(figure, axis)
    return figure


def draw_reliability(curves: pd.DataFrame, colours: Mapping[str, str]) -> Figure | None:
    """Share of labels that came true against the probability stated, one panel a structure."""
    both = curves[curves["kind"].isin(("reliability", "reliability_top")) & (curves["count"] > 0)]
    names = list(dict.fromkeys(both["structure"]))
    if not names:
        return None
    size, margin = (2.5, 2.5), (1.6, 0.3)
    with small_multiples(len(names), columns=COLUMNS_OF_PANELS, size=size, margin=margin) as (figure, axes):
        for axis, structure in zip(axes, names, strict=True):
            axis.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8)
            for name, rows in both[both["structure"] == structure].groupby("method", sort=False):
                axis.errorbar(
                    rows["ideal"], rows["value"], 2 * rows["error"], color=colours[str(name)], marker="o",
                    markersize=2.5, linewidth=1.0, elinewidth=0.6, label=str(name),
                )  # fmt: skip
            axis.set_title("likeliest label" if structure == "all" else structure)
            axis.set_xlabel("probability")
            axis.set_ylabel("came true")
        _legend(figure, axes[0])
    return figure


def _by_method(curves: pd.DataFrame, kind: str) -> list[tuple[str, pd.DataFrame]]:
    rows = curves[curves["kind"] == kind]
    return [(str(name), group) for name, group in rows.groupby("method", sort=False)]


def _line(axis: Axes, rows: pd.DataFrame, colour: str, label: str, shift: pd.Series | float = 0.0) -> None:
    middle = rows["value"] - shift
    axis.plot(rows["position"], middle, color=colour, linewidth=1.3, label=label)
    reach = 2 * rows["error"].fillna(0.0)
    axis.fill_between(rows["position"], middle - reach, middle + reach, color=colour, alpha=0.15, linewidth=0)


def _legend(figure: Figure, axis: Axes) -> None:
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", frameon=False)
