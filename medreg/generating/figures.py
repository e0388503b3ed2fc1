"""Figures of hearts that were made: volumes over the cycle, views, a beat, measures over the years."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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
from medreg.reporting.heart_style import SOURCE_COLOURS
from medreg.reporting.panels import panels
from medreg.reporting.style import INK

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
MOST_VIEWS, MOST_AGES = 4, 7  # hearts below each other, ages beside each other
DPI = 150
BLACK, MADE, FAINT = INK, SOURCE_COLOURS["aged"], SOURCE_COLOURS["later"]
AGES_A_SECOND = 2.0  # of the animation of an ageing heart


def draw(
    verb: str,
    folder: Path,
    hearts: Sequence[Heart],
    *,
    given: Sequence[Heart],
    curves: Sequence[Row],
    measures: Sequence[Row],
) -> None:
    """Write the pictures of a command, `PICTURES`, into a folder.

    Args:
        verb: of the command.
        folder: exists.
        hearts: that were made, the first ones.
        given: of the user.
        curves: rows of curves.csv.
        measures: rows of measures.csv.
    """
    spacing = hearts[0].model_spacing_mm
    made = [row for row in curves if row["source"] != GIVEN]
    if verb != "age":
        shown = {heart.name: heart.shape for heart in hearts[:MOST_VIEWS]}
        alike = tuple(shown)[1:] if verb == "complete" else ()
        _save(curve_panels(made, [row for row in curves if row["source"] == GIVEN]), folder / CURVES)
        _save(compared_views(shown, spacing, alike=alike), folder / VIEWS)
        write_gif(folder / ANIMATION, hearts[0].shape, spacing)
        return
    chosen = np.unique(np.linspace(0, len(hearts) - 1, MOST_AGES).round().astype(int))
    strip = {heart.name: heart.shape for heart in given if len(heart.shape) > 1}
    strip |= {_years(hearts[k]): hearts[k].shape for k in chosen}
    _save(age_panels(made), folder / CURVES)
    _save(heart_ageing_strip(strip, spacing, reference=_years(hearts[0])), folder / AGES)
    _save(over_age(measures), folder / OVER_AGE)
    write_gif(folder / ANIMATION, np.stack([one.shape[0] for one in hearts]), spacing, fps=AGES_A_SECOND)


def curve_panels(rows: Sequence[Row], given: Sequence[Row]) -> Figure:
    """Draw a panel a structure: its volume over the cycle, median and band of the hearts of each source.

    Args:
        rows: of curves.csv, without those of the user.
        given: those of the user, which are marked.
    """
    with _cycle(rows) as (figure, axes, times, names):
        for axis, name in zip(axes, names, strict=True):
            groups: dict[str, list[list[float]]] = {}
            for curve in _by_heart(rows).values():
                groups.setdefault(curve[0]["source"], []).append([row[name] for row in curve])
            # What was drawn lies below the one that was not.
            ordered = sorted(groups, key=lambda source: -len(groups[source]))
            draw_curves(axis, times, {source: np.array(groups[source]) for source in ordered})
            if given:
                values = [row[name] for row in given]
                axis.plot(
                    times[: len(given)],
                    values,
                    color=BLACK,
                    marker="D",
                    markersize=4,
                    linestyle="",
                    label="given",
                )
        handles = axes[0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside lower center", ncols=6, frameon=False)
    return figure


def age_panels(rows: Sequence[Row]) -> Figure:
    """Draw a panel a structure: its volume over the cycle at every age, from light to dark; `rows` as above."""
    import matplotlib as mpl

    with _cycle(rows) as (figure, axes, times, names):
        hearts = _by_heart(rows)
        colours = mpl.colormaps["viridis_r"](np.linspace(0.15, 1.0, len(hearts)))
        for axis, name in zip(axes, names, strict=True):
            for (heart, curve), colour in zip(hearts.items(), colours, strict=True):
                label = f"{heart.removeprefix('age_')} years"
                axis.plot(times, [row[name] for row in curve], color=colour, linewidth=1.6, label=label)
            axis.set(xlabel="place in the cycle (%)", ylim=(0.0, None))
            axis.grid(axis="y")
        handles = axes[0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside lower center", ncols=8, frameon=False)
    return figure


@contextmanager
def _cycle(rows: Sequence[Row]) -> Iterator[tuple[Figure, list[Axes], Any, list[str]]]:
    """A figure with a panel a structure; of ED and ES alone these are the ticks."""
    names = [key for key in rows[0] if key.endswith("_ml")]
    times = cycle_times(1 + max(row["frame"] for row in rows))
    with panels(1, len(names), size=(3.1 * len(names), 2.9)) as (figure, axes):
        yield figure, list(axes[0]), times, names
        for axis, name in zip(axes[0], names, strict=True):
            axis.set_title(name.removesuffix("_ml").upper(), loc="left")
            if len(times) == 2:
                axis.set_xticks(times, ["ED", "ES"])
                axis.set_xlabel("")
        axes[0, 0].set_ylabel("volume (mL)")


def _by_heart(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["heart"], []).append(row)
    return found


def over_age(measures: Sequence[Row]) -> Figure:
    """Draw each measure over the years: the hearts that were made, and the given one beside them."""
    made = [row for row in measures if row["source"] != GIVEN]
    given = next(row for row in measures if row["source"] == GIVEN)
    first = next(row for row in made if row["source"] == RECONSTRUCTED)
    with panels(2, 4, size=(10.0, 4.6)) as (figure, axes):
        for axis, name in zip(axes.flat, SHOWN, strict=False):
            years = [row["age_years"] for row in made]
            values = np.array([row[name] for row in made], dtype=float)
            axis.plot(years, values, color=MADE, marker="o", markersize=3, label="made by the model")
            if given.get(name) is not None:
                expected = given[name] + values - first[name]
                axis.plot(years, expected, color=FAINT, linestyle="--", label="given, with the change")
                axis.plot(years[:1], [given[name]], color=BLACK, marker="D", markersize=4, linestyle="",
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


def _years(heart: Heart) -> str:
    return f"{float(heart.told['age_years'] or 0.0):g} y"


def _save(figure: Any, file: Path) -> None:
    with replacing(file) as part:
        figure.savefig(part, dpi=DPI)
