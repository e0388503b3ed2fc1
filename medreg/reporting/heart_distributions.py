"""Real hearts against made ones: violins of every measure by sex, and boxes by sex and age group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from medreg.reporting.cells import number
from medreg.reporting.heart_style import SOURCE_COLOURS, source_word
from medreg.reporting.heart_tables import (
    FEWEST,
    GROUPS,
    by_sex,
    distance,
    measure,
    real_sd,
    values_of,
    with_groups,
)
from medreg.reporting.panels import panels, small_multiples
from medreg.reporting.plots import draw_boxes
from medreg.reporting.style import MUTED
from medreg.reporting.views import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

VIOLIN = 0.4  # half width
POINTS = 120  # of a violin's outline


def violins(hearts: pd.DataFrame, names: Sequence[str], *, made: str) -> Figure | None:
    """Draw the distribution of each measure by sex: real hearts on the left of each pair, made ones on the right.

    Args:
        hearts: rows of `read_measures`.
        names: measures, a panel each.
        made: source of the hearts that are not real.

    Returns:
        The figure, or None where no group has enough hearts of both kinds.
    """
    shown = [name for name in names if _groups(hearts, name, made)]
    if not shown:
        return None
    with small_multiples(len(shown), columns=3, size=(2.9, 2.5), margin=(0.3, 0.5)) as (figure, axes):
        for axis, name in zip(axes, shown, strict=True):
            groups = _groups(hearts, name, made)
            for place, (_, real, other) in enumerate(groups):
                _half(axis, real, place, side=-1, colour=SOURCE_COLOURS["real"])
                _half(axis, other, place, side=1, colour=SOURCE_COLOURS[made])
            named = [
                f"{sex}\nW1 {number(w1, measure(name).decimals)} = {number(share, 2)} SD"
                for (sex, real, other) in groups
                for w1, share in [distance(real, other, real_sd(hearts, name))]
            ]
            axis.set_xticks(range(len(groups)), named, fontsize=7.5)
            axis.set_xlim(-0.6, len(groups) - 0.4)
            axis.set_title(measure(name).heading, loc="left")
            axis.grid(axis="y")
            axis.set_axisbelow(True)
        source_legend(figure, ("real", made))
    return figure


def boxes_by_age(hearts: pd.DataFrame, names: Sequence[str], *, made: str) -> Figure | None:
    """Draw boxes of each measure by age group, a row a measure and a column a sex; W1 in SD above each pair.

    Arguments and result as of `violins`.
    """
    grouped = with_groups(hearts)
    if not (grouped["age_group"] >= 0).any():
        return None
    sexes = [sex for sex, _ in by_sex(grouped[grouped["source"] == "real"])]
    shown = [name for name in names if _groups(hearts, name, made)]
    if not shown:
        return None
    size = (4.6 * len(sexes) + 0.3, 1.75 * len(shown) + 0.9)
    with panels(len(shown), len(sexes), size=size, sharey="row", sharex=True) as (figure, axes):
        for column, sex in enumerate(sexes):
            rows = dict(by_sex(grouped)).get(sex, grouped)
            for row, name in enumerate(shown):
                _age_boxes(axes[row, column], rows, name, made, real_sd(hearts, name))
                axes[row, 0].set_ylabel(measure(name).heading)
            axes[0, column].set_title(sex, loc="left", fontweight="bold", pad=14)
            axes[-1, column].set_xlabel("age group (years)")
        source_legend(figure, ("real", made))
    return figure


def source_legend(figure: Figure, sources: Sequence[str]) -> None:
    """Name the colours of sources above a figure."""
    from matplotlib.patches import Patch

    handles = [Patch(color=SOURCE_COLOURS[name], alpha=0.7, label=source_word(name)) for name in sources]
    figure.legend(handles=handles, loc="outside upper right", ncols=len(handles), frameon=False)


def _groups(hearts: pd.DataFrame, name: str, made: str) -> list[tuple[str, Array, Array]]:
    """Sex, real values and made ones, of the sexes with enough of both."""
    found = []
    for sex, rows in by_sex(hearts):
        real, other = (values_of(rows[rows["source"] == source], name) for source in ("real", made))
        if min(len(real), len(other)) >= FEWEST:
            found.append((sex, real, other))
    return found


def _half(axis: Axes, values: Array, place: float, *, side: int, colour: str) -> None:
    """One side of a violin, with median and quartiles."""
    low, high = float(values.min()), float(values.max())
    width = np.zeros(POINTS)
    height = np.linspace(low, high, POINTS)
    if high > low:
        from scipy.stats import gaussian_kde

        density = gaussian_kde(values)(height)
        width = VIOLIN * density / density.max()
    axis.fill_betweenx(height, place, place + side * width, color=colour, alpha=0.35, linewidth=0)
    axis.plot(place + side * width, height, color=colour, linewidth=0.9)
    quarters = np.percentile(values, (25, 50, 75))
    for value, thick in zip(quarters, (0.8, 1.8, 0.8), strict=True):
        end = place + side * float(np.interp(value, height, width))
        axis.plot([place, end], [value, value], color=colour, linewidth=thick)


def _age_boxes(axis: Axes, rows: pd.DataFrame, name: str, made: str, sd: float) -> None:
    """Boxes of one measure and sex by age group."""
    wide = 0.38
    top = []
    for source, side in (("real", -0.5), (made, 0.5)):
        own = rows[rows["source"] == source]
        data = [values_of(own[own["age_group"] == group], name) for group in range(len(GROUPS))]
        kept = [values if len(values) >= FEWEST else values[:0] for values in data]
        places = np.arange(len(GROUPS)) + side * wide
        draw_boxes(
            axis, kept, places=places, width=wide, colour=SOURCE_COLOURS[source], lying=False, dots=False
        )
        top.append(kept)
    for group, (real, other) in enumerate(zip(*top, strict=True)):
        _, share = distance(real, other, sd)
        if np.isfinite(share):
            axis.text(
                group, 1.01, number(share, 2), transform=axis.get_xaxis_transform(), ha="center", va="bottom",
                fontsize=6.5, color=MUTED,
            )  # fmt: skip
    axis.set_xticks(range(len(GROUPS)), GROUPS)
    axis.set_xlim(-0.6, len(GROUPS) - 0.4)
    axis.grid(axis="y")
    axis.set_axisbelow(True)
    axis.tick_params(color=MUTED)
