"""Figure of landscapes: every measure along every kind of motion, mean and spread over cases."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from medreg.reporting.panels import panels
from medreg.reporting.style import MUTED, save
from medreg.studies.capture_range.figures import UNITS, looks


def normalised(landscapes: pd.DataFrame) -> pd.DataFrame:
    """Energies of each case mapped to 0 at its lowest and 1 at its highest point along a line (MAD, 1.7 a)."""
    grouped = landscapes.groupby(["title", "family", "case"], sort=False)["energy"]
    low, high = grouped.transform("min"), grouped.transform("max")
    span = (high - low).where(high > low, 1.0)
    return landscapes.assign(level=(landscapes["energy"] - low) / span)


def draw_landscapes(landscapes: pd.DataFrame, path: Path) -> Path:
    """Draw mean ± standard deviation over cases, one row a measure, one column a family.

    Args:
        landscapes: columns title, family, value, case, energy.
        path: of the figure.
    """
    table = normalised(landscapes)
    titles, families = (list(dict.fromkeys(table[key])) for key in ("title", "family"))
    style = looks(titles)
    size = (2.3 * len(families) + 0.6, 1.35 * len(titles) + 0.5)
    with panels(len(titles), len(families), size=size, sharey=True, sharex="col") as (figure, grid):
        for row, title in zip(grid, titles, strict=True):
            for axis, family in zip(row, families, strict=True):
                part = table[(table["title"] == title) & (table["family"] == family)]
                curve = part.groupby("value")["level"].agg(["mean", "std"]).fillna(0.0)
                x, mean, spread = curve.index.to_numpy(), curve["mean"], curve["std"]
                axis.axvline(0.0, color=MUTED, linewidth=0.6)
                axis.plot(x, mean, color=style[title]["color"], linewidth=1.3)
                axis.fill_between(
                    x, mean - spread, mean + spread, color=style[title]["color"], alpha=0.2, linewidth=0
                )
            row[0].set_ylabel(title)
        for axis, family in zip(grid[0], families, strict=True):
            axis.set_title(family)
        for axis, family in zip(grid[-1], families, strict=True):
            axis.set_xlabel(UNITS.get(str(family), ""))
        return save(figure, path)
