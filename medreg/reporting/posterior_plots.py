"""Curves of a posterior in a report: traces of the chains, and how often stated probabilities come true."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from medreg.reporting.page import Section, figure, paragraph
from medreg.reporting.panels import small_multiples
from medreg.reporting.pictures import Picture
from medreg.reporting.results import RunFolder, read_calibration
from medreg.reporting.style import INK, METHOD_COLOURS, MUTED
from medreg.reporting.views import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CASES = 3  # whose traces are drawn
TRACE_COLUMNS = ("case", "chain", "sample", "quantity", "unit", "value")
# kind of `metrics.uncertainty.table` → title of its panel, label of its horizontal and of its vertical axis
CURVES = {
    "coverage": ("displacement, Gaussian", "nominal coverage", "observed coverage"),
    "coverage_ranks": ("displacement, ranks", "nominal coverage", "observed coverage"),
    "reliability_top": ("labels", "stated probability", "share that was right"),
}
TRACES_HINT = (
    "One line a chain. Chains that have forgotten where they started cross all the time and lie on one another; a "
    "drift means that burn-in is too short."
)
COVERAGE_HINT = (
    "Share of components whose true displacement lies within the credible interval of a nominal probability, by mean "
    "and SD and by the ranks of the truth among the samples; and how often the most probable label is right near "
    "structures. Each case is a faint line, the solid one counts all together. On the diagonal the posterior is "
    "calibrated; below it is too sure of itself, above too doubtful."
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
    """Observed against nominal probabilities of all cases; nothing where neither truth nor labels are known."""
    rows = read_calibration(run.path / "calibration.csv").table
    rows = rows[rows["kind"].isin(list(CURVES)) & (rows["count"] > 0)]
    if rows.empty:
        return
    told = [f"{CURVES[str(kind)][0]}: {_told(own)}" for kind, own in rows.groupby("kind", sort=False)]
    alt = f"Observed against nominal probability over {rows['case'].nunique()} cases. {'; '.join(told)}."
    picture = Picture.of(draw_coverage(rows), "coverage", caption="", alt=alt)
    yield Section("Calibration", (paragraph(COVERAGE_HINT, kind="hint"), figure(picture)), (picture,))


def _told(rows: pd.DataFrame) -> str:
    """The curve at about its middle and near its end, in words."""
    stated, found = _curve(rows)
    chosen = sorted({len(stated) // 2, (9 * len(stated)) // 10})
    return ", ".join(f"{100 * stated[k]:.0f} % stated, {100 * found[k]:.0f} % observed" for k in chosen)


def _curve(rows: pd.DataFrame) -> tuple[Array, Array]:
    """Stated and observed shares at every position, all cases of the rows counted together."""
    sums = rows.groupby("position")[["count", "observed", "expected"]].sum()
    return (sums["expected"] / sums["count"]).to_numpy(), (sums["observed"] / sums["count"]).to_numpy()


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
    """Observed against nominal probability, a panel for every kind: cases faint, all together solid.

    Args:
        rows: rows of calibration.csv of the kinds of `CURVES`.
    """
    kinds = [kind for kind in CURVES if (rows["kind"] == kind).any()]
    with small_multiples(len(kinds), columns=3, size=(3.1, 3.2), margin=(0.3, 0.3)) as (drawn, axes):
        for axis, kind in zip(axes, kinds, strict=True):
            own = rows[rows["kind"] == kind]
            axis.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=":")
            for _, case in own.groupby("case", sort=False):
                axis.plot(*_curve(case), color=METHOD_COLOURS[0], linewidth=0.6, alpha=0.25)
            axis.plot(*_curve(own), color=METHOD_COLOURS[0], linewidth=1.8, marker="o", markersize=3)
            title, across, up = CURVES[kind]
            axis.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel=across, ylabel=up)
            axis.set_title(title, loc="left")
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
