"""Figures of hearts that were made: volumes over the cycle, views, a beat, measures over the years."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medreg.generating.heart import Heart
from medreg.generating.measuring import SHOWN
from medreg.generating.tables import GIVEN, Row
from medreg.io.atomic import replacing
from medreg.metrics.hearts.measures import MEASURES
from medreg.metrics.hearts.sources import RECONSTRUCTED
from medreg.reporting.heart_ageing_strip import heart_ageing_strip
from medreg.reporting.heart_animation import write_gif
from medreg.reporting.heart_curves import cycle_times, draw_curves
from medreg.reporting.heart_pictures import compared_views
from medreg.reporting.panels import panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CURVES, VIEWS, ANIMATION, AGES, OVER_AGE = (
    "curves.png",
    "views.png",
    "animation.gif",
    "ages.png",
    "measures.png",
)
PICTURES: Mapping[str, Sequence[str]] = {
    "generate": (CURVES, VIEWS, ANIMATION),
    "complete": (CURVES, VIEWS, ANIMATION),
    "age": (CURVES, AGES, OVER_AGE, ANIMATION),
}
MOST_VIEWS, MOST_AGES = 4, 8  # hearts below each other, ages beside each other
DPI = 150
AGES_A_SECOND = 2.0  # of the animation of an ageing heart


def draw(
    verb: str, folder: Path, hearts: Sequence[Heart], curves: Sequence[Row], measures: Sequence[Row]
) -> None:
    """Write the pictures of a command, `PICTURES`, into a folder.

    Args:
        verb: of the command.
        folder: exists.
        hearts: that were made, the first ones.
        curves: rows of curves.csv.
        measures: rows of measures.csv.
    """
    spacing = hearts[0].model_spacing_mm
    _save(curve_panels(verb, curves), folder / CURVES)
    if verb != "age":
        shown = {heart.name: heart.shape for heart in hearts[:MOST_VIEWS]}
        alike = tuple(shown)[1:] if verb == "complete" else ()
        _save(compared_views(shown, spacing, alike=alike), folder / VIEWS)
        write_gif(folder / ANIMATION, hearts[0].shape, spacing)
        return
    chosen = np.unique(np.linspace(0, len(hearts) - 1, MOST_AGES).round().astype(int))
    years = [f"{_age(hearts[k]):g} y" for k in chosen]
    strip = {name: hearts[k].shape for name, k in zip(years, chosen, strict=True)}
    _save(heart_ageing_strip(strip, spacing, reference=years[0]), folder / AGES)
    _save(over_age(measures), folder / OVER_AGE)
    ageing = np.stack([heart.shape[0] for heart in hearts])
    write_gif(folder / ANIMATION, ageing, spacing, fps=AGES_A_SECOND)


def curve_panels(verb: str, curves: Sequence[Row]) -> Figure:
    """Draw a panel a structure: its volume over the cycle, by what made the heart, or by age."""
    made = [row for row in curves if row["source"] != GIVEN]
    names = [key for key in made[0] if key.endswith("_ml")]
    count = 1 + max(row["frame"] for row in made)
    times = cycle_times(count)
    hearts: dict[str, list[Row]] = {}
    for row in made:
        hearts.setdefault(row["heart"], []).append(row)
    with panels(1, len(names), size=(3.1 * len(names), 2.9)) as (figure, axes):
        for place, name in enumerate(names):
            groups: dict[str, list[list[float]]] = {}
            for heart, rows in hearts.items():
                group = f"{heart.removeprefix('age_')} y" if verb == "age" else rows[0]["source"]
                groups.setdefault(group, []).append([row[name] for row in rows])
            draw_curves(axes[0, place], times, {key: np.array(rows) for key, rows in groups.items()})
            axes[0, place].set_title(name.removesuffix("_ml").upper(), loc="left")
        axes[0, 0].set_ylabel("volume (mL)")
        handles = axes[0, 0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside lower center", ncols=6, frameon=False)
    return figure


def over_age(measures: Sequence[Row]) -> Figure:
    """Draw each measure over the years: the hearts that were made, and the given one beside them."""
    made = [row for row in measures if row["source"] != GIVEN]
    given = next(row for row in measures if row["source"] == GIVEN)
    first = next(row for row in made if row["source"] == RECONSTRUCTED)
    with panels(2, 4, size=(10.0, 4.6)) as (figure, axes):
        for axis, name in zip(axes.flat, SHOWN, strict=False):
            years = [row["age_years"] for row in made]
            values = np.array([row[name] for row in made], dtype=float)
            axis.plot(years, values, color="#D55E00", marker="o", markersize=3, label="made by the model")
            if given.get(name) is not None:
                expected = given[name] + values - first[name]
                axis.plot(years, expected, color="#6b7785", linestyle="--", label="given, with the change")
                axis.plot(years[:1], [given[name]], color="#1d2733", marker="D", markersize=4, linestyle="",
                          label="given")  # fmt: skip
            axis.set(title=_title(name), xlabel="age (years)")
            axis.grid(axis="y")
        _legend(axes.flat[-1], axes.flat[0])
    return figure


def _legend(empty: Axes, drawn: Axes) -> None:
    empty.set_axis_off()
    empty.legend(*drawn.get_legend_handles_labels(), loc="center", frameon=False)


def _title(name: str) -> str:
    unit = {"ml": "mL"}.get(MEASURES[name], MEASURES[name])
    return f"{name.split('_')[0].upper()} ({unit})"


def _age(heart: Heart) -> float:
    return float(heart.told["age_years"] or 0.0)


def _save(figure: Any, file: Path) -> None:
    with replacing(file) as part:
        figure.savefig(part, dpi=DPI)
