"""Curves of a posterior in a report: traces of the chains, and how often intervals hold the truth."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from medreg.reporting.page import Section, figure, paragraph
from medreg.reporting.panels import small_multiples
from medreg.reporting.pictures import Picture
from medreg.reporting.results import RunFolder
from medreg.reporting.style import INK, METHOD_COLOURS, MUTED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CASES = 3  # whose traces are drawn
TRACE_COLUMNS = ("case", "chain", "sample", "quantity", "unit", "value")
COVERAGE_COLUMNS = ("case", "level", "coverage")
TRACES_HINT = (
    "One line a chain. Chains that have forgotten where they started cross all the time and lie on one another; a "
    "drift means that burn-in is too short."
)
COVERAGE_HINT = (
    "Share of voxels whose true displacement lies within the credible interval of a nominal probability, each case a "
    "faint line. On the diagonal the posterior is calibrated; below it is too sure of itself, above too doubtful."
)


def traces(run: RunFolder) -> Iterator[Section]:
    """Traces of the chains of the first cases; nothing where there are none."""
    rows = _table(run.path / "traces.csv", TRACE_COLUMNS)
    pictures = []
    for case, own in list(rows.groupby("case", sort=False))[:CASES]:
        names = ", ".join(str(name) for name in pd.unique(own["quantity"]))
        alt = f"Traces of {names} of case {case} in {own['chain'].nunique()} chains."
        drawn = draw_traces(own)
        pictures.append(
            Picture.of(drawn, f"traces_{_word(case)}", caption=f"Traces of case {case}.", alt=alt)
        )
    if pictures:
        yield Section(
            "Chains", (paragraph(TRACES_HINT, kind="hint"), *map(figure, pictures)), tuple(pictures)
        )


def coverage(run: RunFolder) -> Iterator[Section]:
    """Observed against nominal coverage of all cases; nothing where the truth is not known."""
    rows = _table(run.path / "calibration.csv", COVERAGE_COLUMNS)
    rows = rows[np.isfinite(rows["coverage"].astype(float))]
    if rows.empty:
        return
    mean = rows.groupby("level")["coverage"].mean()
    told = ", ".join(f"{100 * float(str(p)):.0f} % interval {100 * c:.0f} %" for p, c in mean.items())
    alt = f"Observed coverage of credible intervals over {rows['case'].nunique()} cases: {told}."
    picture = Picture.of(draw_coverage(rows), "coverage", caption="", alt=alt)
    yield Section("Calibration", (paragraph(COVERAGE_HINT, kind="hint"), figure(picture)), (picture,))


def draw_traces(rows: pd.DataFrame) -> Figure:
    """A panel for every quantity, a line for every chain.

    Args:
        rows: `TRACE_COLUMNS` of one case.
    """
    groups = list(rows.groupby("quantity", sort=False))
    with small_multiples(len(groups), columns=2, size=(3.8, 2.0), margin=(0.4, 0.5)) as (drawn, axes):
        for axis, (name, own) in zip(axes, groups, strict=True):
            for number, (_, line) in enumerate(own.groupby("chain", sort=True)):
                colour = METHOD_COLOURS[number % len(METHOD_COLOURS)]
                axis.plot(line["sample"], line["value"], color=colour, linewidth=0.9, alpha=0.85)
            unit = str(own["unit"].iloc[0])
            axis.set_title(f"{name}{'' if unit in ('', '1', 'nan') else f' ({unit})'}", loc="left")
        drawn.supxlabel("sample", fontsize=9, color=INK)
    return drawn


def draw_coverage(rows: pd.DataFrame) -> Figure:
    """Observed against nominal coverage: cases faint, their mean solid.

    Args:
        rows: `COVERAGE_COLUMNS`, 0 … 1.
    """
    with small_multiples(1, columns=1, size=(3.6, 3.4), margin=(0.4, 0.3)) as (drawn, axes):
        axis = axes[0]
        axis.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=":")
        for _, own in rows.groupby("case", sort=False):
            line = own.sort_values("level")
            axis.plot(line["level"], line["coverage"], color=METHOD_COLOURS[0], linewidth=0.6, alpha=0.25)
        mean = rows.groupby("level")["coverage"].mean()
        axis.plot(mean.index, mean, color=METHOD_COLOURS[0], linewidth=1.8, marker="o", markersize=3)
        axis.set(
            xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="nominal coverage", ylabel="observed coverage"
        )
    return drawn


def _table(file: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """Rows of a table of the run that has the columns, none where it is not there or means something else."""
    empty = pd.DataFrame({name: pd.Series(dtype=float) for name in columns})
    if not file.is_file() or file.stat().st_size == 0:
        return empty
    rows = pd.read_csv(file)
    return rows if set(columns) <= set(rows.columns) else empty


def _word(case: object) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", str(case))
