"""Plots of hearts that were made older or younger: measures by age group, identity, and change at second visits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from medreg.metrics.hearts.sources import AGED, GAP, LATER, REAL, RECONSTRUCTED, TO_GROUP
from medreg.reporting.cells import number
from medreg.reporting.heart_style import SOURCE_COLOURS, source_word
from medreg.reporting.heart_tables import FEWEST, GROUPS, by_sex, measure, real_hearts, values_of, with_groups
from medreg.reporting.panels import panels
from medreg.reporting.style import INK, MUTED
from medreg.reporting.views import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MEASURES = ("lvedv_ml", "lvm_g", "rvedv_ml")
GAPS = ((0.0, 5.0), (5.0, 10.0), (10.0, np.inf))  # years
NO_CHANGE = "no change"
SEX_MARKS = {"women": "o", "men": "s", "all": "o"}
SEX_COLOURS = {"women": "#CC79A7", "men": "#0072B2", "all": INK}
Z = 1.96  # standard errors of a 95 % interval


def brought(hearts: pd.DataFrame) -> pd.DataFrame:
    """The hearts that were brought to every age group, with their group as `age_group`; none without."""
    if TO_GROUP not in hearts:
        return hearts[:0]
    chosen = hearts[(hearts["source"] == AGED) & hearts[TO_GROUP].notna()]
    chosen = chosen[chosen[GAP].isna()] if GAP in chosen else chosen
    return with_groups(chosen)


def by_group(
    hearts: pd.DataFrame, names: Sequence[str] = MEASURES, *, known: pd.DataFrame | None = None
) -> Figure | None:
    """Draw means with 95 % intervals by age group: hearts brought to it, and real ones of it; a row a sex.

    Args:
        hearts: rows of `read_measures`.
        names: measures, a column each.
        known: real hearts; None: those of the test.

    Returns:
        The figure, or None where no group has enough hearts.
    """
    aged, real = brought(hearts), with_groups(real_hearts(hearts) if known is None else known)
    enough = [rows for sex, rows in by_sex(aged) if rows["case"].nunique() >= FEWEST]
    aged = pd.concat(enough) if enough else aged[:0]
    shown = [name for name in names if len(values_of(aged, name))]
    if not shown:
        return None
    sexes = [sex for sex, _ in by_sex(aged)]
    size = (3.1 * len(shown) + 0.3, 2.2 * len(sexes) + 0.7)
    with panels(len(sexes), len(shown), size=size, sharex=True) as (figure, axes):
        for row, sex in enumerate(sexes):
            own = {"real": dict(by_sex(real)).get(sex, real[:0]), "aged": dict(by_sex(aged))[sex]}
            for column, name in enumerate(shown):
                axis = axes[row, column]
                for source, rows in own.items():
                    _means(axis, rows, name, source)
                axis.grid(axis="y")
                axis.set_axisbelow(True)
                axes[-1, column].set_xticks(range(len(GROUPS)), GROUPS, fontsize=7)
                axes[0, column].set_title(measure(name).heading, loc="left")
            axes[row, 0].set_ylabel(sex, fontweight="bold")
        figure.supxlabel("age group (years)", fontsize=9)
        handles, _ = axes[0, 0].get_legend_handles_labels()
        words = ("real people of the group", "test hearts brought to the group")[-len(handles) :]
        figure.legend(handles, words, loc="outside upper right", ncols=2, frameon=False)
    return figure


def identity(hearts: pd.DataFrame, name: str = "lvedv_ml") -> Figure | None:
    """Draw a measure of hearts in the oldest group against the same hearts as they are given back; r within sex.

    Arguments and result as of `by_group`.
    """
    aged, back = brought(hearts), hearts[hearts["source"] == RECONSTRUCTED]
    if aged.empty or back.empty or name not in hearts:
        return None
    groups = sorted(aged["age_group"].unique())
    ends = [groups[0], groups[-1]] if len(groups) > 1 else groups
    with panels(1, len(ends), size=(3.3 * len(ends) + 0.3, 3.2), sharey=True) as (figure, axes):
        for axis, group in zip(axes[0], ends, strict=True):
            for sex, rows in by_sex(aged[aged["age_group"] == group]):
                one, other = _paired(back, rows, name)
                told = f"{sex}, r = {number(correlation(one, other), 2)}"
                axis.scatter(
                    one, other, s=12, color=SEX_COLOURS[sex], marker=SEX_MARKS[sex], alpha=0.7, linewidths=0, label=told
                )  # fmt: skip
            _diagonal(axis)
            axis.set_title(f"brought to {GROUPS[int(group)]} years", loc="left")
            axis.set_xlabel(f"given back: {measure(name).heading}")
            axis.legend(frameon=False, fontsize=7, loc="upper left")
        axes[0, 0].set_ylabel(f"aged: {measure(name).heading}")
    return figure


def visit_pairs(hearts: pd.DataFrame, name: str) -> pd.DataFrame:
    """One row a person seen twice: gap_years, sex, real, back, aged and later of a measure; empty without any."""
    if GAP not in hearts or name not in hearts:
        return pd.DataFrame()
    predicted = hearts[(hearts["source"] == AGED) & hearts[GAP].notna() & (hearts["sample"] == 0)]
    later = hearts[hearts["source"] == LATER]
    if predicted.empty or later.empty:
        return pd.DataFrame()
    frames = {
        "real": real_hearts(hearts),
        "back": hearts[hearts["source"] == RECONSTRUCTED],
        "aged": predicted,
        "later": later,
    }
    columns = [frame.groupby("case")[name].mean().rename(word) for word, frame in frames.items()]
    told = later.groupby("case")[[column for column in (GAP, "sex") if column in later]].first()
    return pd.concat([told, *columns], axis=1).dropna(subset=["real", "aged", "later"])


def visits(hearts: pd.DataFrame, name: str = "lvedv_ml") -> Figure | None:
    """Draw predicted against observed change, and the bias of the second visit by gap beside that of no change.

    Arguments and result as of `by_group`; None where nobody was seen twice.
    """
    pairs = visit_pairs(hearts, name)
    if pairs.empty:
        return None
    known = pairs["back"].where(pairs["back"].notna(), pairs["real"])
    pairs = pairs.assign(predicted=pairs["aged"] - known, observed=pairs["later"] - pairs["real"])
    with panels(1, 2, size=(7.6, 3.3)) as (figure, axes):
        left, right = axes[0]
        for sex, rows in by_sex(pairs):
            r = correlation(rows["predicted"].to_numpy(float), rows["observed"].to_numpy(float))
            left.scatter(
                rows["observed"], rows["predicted"], s=12, color=SEX_COLOURS[sex], marker=SEX_MARKS[sex], alpha=0.7,
                linewidths=0, label=f"{sex}, r = {number(r, 2)}",
            )  # fmt: skip
        _diagonal(left)
        unit = measure(name).heading
        left.set(xlabel=f"observed change of {unit}", ylabel=f"predicted change of {unit}")
        left.legend(frameon=False, fontsize=7, loc="upper left")
        _bias(right, pairs)
        right.set_ylabel(f"predicted − observed change of {unit}")
        right.legend(frameon=False, fontsize=7, loc="upper left")
    return figure


def bias_by_gap(pairs: pd.DataFrame) -> list[tuple[str, int, dict[str, tuple[float, float]]]]:
    """By gap: words, number of pairs, and the mean error of the change with its SE, of the model and of no change.

    Args:
        pairs: with the columns gap_years, predicted and observed.
    """
    found = []
    for low, high in GAPS:
        rows = pairs[(pairs[GAP] >= low) & (pairs[GAP] < high)]
        if not len(rows):
            continue
        words = f"< {high:g}" if low == 0 else f"≥ {low:g}" if np.isinf(high) else f"{low:g}–{high:g}"
        errors = {"aged": rows["predicted"] - rows["observed"], NO_CHANGE: -rows["observed"]}
        told = {name: _mean_se(values.to_numpy(float)) for name, values in errors.items()}
        found.append((words, len(rows), told))
    return found


def correlation(one: Array, other: Array) -> float:
    """Pearson's correlation of the pairs that are finite; NaN for fewer than three or without spread."""
    known = np.isfinite(one) & np.isfinite(other)
    if known.sum() < 3 or np.ptp(one[known]) == 0 or np.ptp(other[known]) == 0:
        return float("nan")
    return float(np.corrcoef(one[known], other[known])[0, 1])


def _bias(axis: Axes, pairs: pd.DataFrame) -> None:
    rows = bias_by_gap(pairs)
    for name, colour, side in (("aged", SOURCE_COLOURS["aged"], -0.08), (NO_CHANGE, MUTED, 0.08)):
        for place, (_, _, told) in enumerate(rows):
            mean, se = told[name]
            label = (name if name == NO_CHANGE else "model") if place == 0 else None
            axis.errorbar(
                place + side, mean, yerr=Z * np.nan_to_num(se), color=colour, marker="o", markersize=5,
                linewidth=1.4, label=label,
            )  # fmt: skip
    axis.axhline(0.0, color=INK, linewidth=0.8)
    axis.set_xticks(range(len(rows)), [f"{words} years\nn = {count}" for words, count, _ in rows])
    axis.set_xlim(-0.5, len(rows) - 0.5)
    axis.grid(axis="y")
    axis.set_axisbelow(True)
    axis.set_title("bias by the time between visits", loc="left")


def _mean_se(values: Array) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    se = float(known.std(ddof=1) / np.sqrt(len(known))) if len(known) > 1 else float("nan")
    return float(known.mean()) if len(known) else float("nan"), se


def _means(axis: Axes, rows: pd.DataFrame, name: str, source: str) -> None:
    """Mean and 95 % interval of a measure in every age group."""
    places, means, bars = [], [], []
    for group in range(len(GROUPS)):
        values = values_of(rows[rows["age_group"] == group], name)
        if len(values) >= FEWEST:
            mean, se = _mean_se(values)
            places.append(group)
            means.append(mean)
            bars.append(Z * se)
    shift = -0.06 if source == "real" else 0.06
    axis.errorbar(
        np.array(places) + shift, means, yerr=bars, color=SOURCE_COLOURS[source], marker="o", markersize=3.5,
        linewidth=1.5, elinewidth=0.9, linestyle="--" if source == REAL else "-", label=source_word(source),
    )  # fmt: skip


def _paired(back: pd.DataFrame, aged: pd.DataFrame, name: str) -> tuple[Array, Array]:
    """(n,) values of the same people in both tables."""
    one, other = (frame.groupby("case")[name].mean() for frame in (back, aged))
    cases = one.index.intersection(other.index)
    return one.loc[cases].to_numpy(float), other.loc[cases].to_numpy(float)


def _diagonal(axis: Axes) -> None:
    """The line on which both are equal, over what is shown."""
    ends = [min(axis.get_xlim()[0], axis.get_ylim()[0]), max(axis.get_xlim()[1], axis.get_ylim()[1])]
    axis.plot(ends, ends, color=MUTED, linewidth=0.8, zorder=0)
    axis.set(xlim=ends, ylim=ends, aspect="equal")
    axis.grid(True)
    axis.set_axisbelow(True)
