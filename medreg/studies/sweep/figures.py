"""Pictures of a sweep: parallel coordinates, the Pareto front, how much each option mattered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from medreg.reporting.panels import panels
from medreg.reporting.style import INK, METHOD_COLOURS, MUTED, PALE
from medreg.reporting.vocabulary import heading
from medreg.studies.sweep.trials import Sweep, sign_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def parallel_coordinates(sweep: Sweep) -> Figure | None:
    """Every run as a line through its options to its first objective; the best darkest. None without variation."""
    runs, first = sweep.finished, sweep.objectives[0]
    if runs.empty or not sweep.options or first not in runs:
        return None
    runs = runs[np.isfinite(runs[first])]
    if runs.empty:
        return None
    axes = [*sweep.options, first]
    scaled, ticks = zip(*(_axis(runs[name]) for name in axes), strict=True)
    quality = _unit(sign_of(first) * runs[first].to_numpy(float))
    with panels(1, 1, size=(max(4.0, 1.7 * len(axes)), 3.2)) as (figure, ((axis,),)):
        for line, good in sorted(zip(np.stack(scaled, 1), quality, strict=True), key=lambda one: one[1]):
            axis.plot(
                range(len(axes)), line, color=METHOD_COLOURS[0], alpha=0.08 + 0.8 * good, linewidth=1 + good
            )
        for place, marks in enumerate(ticks):
            axis.axvline(place, color=MUTED, linewidth=0.8)
            for height, text in marks:
                axis.text(place + 0.03, height, text, fontsize=7, color=INK, va="center")
        names = [*(name.split(".", 1)[-1] for name in sweep.options), heading(first, "")]
        axis.set_xticks(range(len(axes)), names)
        axis.set(xlim=(-0.1, len(axes) - 0.6), ylim=(-0.08, 1.08))
        axis.set_yticks([])
        axis.spines[["left", "bottom"]].set_visible(False)
    return figure


def pareto(sweep: Sweep, settings: pd.DataFrame) -> Figure | None:
    """Two objectives against each other, settings that no other beats in both joined; None for one objective."""
    if len(sweep.objectives) < 2 or settings.empty or not set(sweep.objectives[:2]) <= set(settings):
        return None
    x, y = (settings[name].to_numpy(float) for name in sweep.objectives[:2])
    front = pareto_front(
        np.stack([sign_of(n) * settings[n].to_numpy(float) for n in sweep.objectives[:2]], 1)
    )
    with panels(1, 1, size=(4.2, 3.2)) as (figure, ((axis,),)):
        axis.scatter(x[~front], y[~front], s=14, color=MUTED, label="beaten by another in both")
        order = np.argsort(x[front])
        axis.plot(x[front][order], y[front][order], "o-", color=METHOD_COLOURS[1], label="Pareto front")
        axis.set(xlabel=heading(sweep.objectives[0], ""), ylabel=heading(sweep.objectives[1], ""))
        axis.grid(color=PALE)
        axis.legend(frameon=False)
    return figure


def pareto_front(values: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return which of n points (n, k), more is better, are beaten by no other; points that are not finite never are.

    A point beats another that it is nowhere below and somewhere above.
    """
    finite = np.isfinite(values).all(1)
    no_worse = (values[None] >= values[:, None]).all(2)
    better = (values[None] > values[:, None]).any(2)
    beaten = (no_worse & better & finite[None]).any(1)
    return np.asarray(finite & ~beaten)


def importances(sweep: Sweep) -> dict[str, float]:
    """Return the share of the variance of the first objective that each option explains by itself, η².

    Numbers are cut into at most four groups of equal size. Empty for fewer than four finished runs. Source: correlation
    ratio, R. A. Fisher, Statistical Methods for Research Workers, 1925.
    """
    runs, first = sweep.finished, sweep.objectives[0]
    if first not in runs:
        return {}
    runs = runs[np.isfinite(runs[first])]
    total = float(((runs[first] - runs[first].mean()) ** 2).sum())
    if len(runs) < 4 or total == 0:
        return {}
    return {name: _explained(runs, name, first) / total for name in sweep.options}


def importance_bars(sweep: Sweep) -> Figure | None:
    """The importances as bars; None where there are none."""
    shares = importances(sweep)
    if not shares:
        return None
    names = sorted(shares, key=lambda name: shares[name])
    with panels(1, 1, size=(4.8, 0.7 + 0.3 * len(names))) as (figure, ((axis,),)):
        axis.barh(names, [shares[name] for name in names], color=METHOD_COLOURS[0])
        axis.set(xlim=(0, 1), xlabel=f"share of the variance of {heading(sweep.objectives[0], '')}")
    return figure


def _explained(runs: pd.DataFrame, name: str, first: str) -> float:
    numbers = pd.to_numeric(runs[name], errors="coerce")
    many = numbers.notna().all() and numbers.nunique() > 4
    keys = pd.qcut(numbers, 4, duplicates="drop").astype(str) if many else runs[name].astype(str)
    groups = runs.groupby(keys)[first]
    return float((groups.size() * (groups.mean() - runs[first].mean()) ** 2).sum())


def _axis(values: pd.Series[Any]) -> tuple[Any, list[tuple[float, str]]]:
    """Heights in [0, 1] of the values on their axis, and what to write where."""
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(float)
    if not np.isfinite(numbers).all():
        words = sorted(set(values.astype(str)))
        places = dict(zip(words, np.linspace(0, 1, len(words)) if len(words) > 1 else [0.5], strict=True))
        return values.astype(str).map(places).to_numpy(float), [
            (height, word) for word, height in places.items()
        ]
    logarithmic = numbers.min() > 0 and numbers.max() / numbers.min() > 30
    heights = _unit(np.log(numbers) if logarithmic else numbers)
    ends = {int(np.argmin(numbers)), int(np.argmax(numbers))}
    return heights, [(float(heights[end]), f"{numbers[end]:.3g}") for end in sorted(ends)]


def _unit(values: Any) -> Any:
    low, high = float(np.min(values)), float(np.max(values))
    return np.full(len(values), 0.5) if high == low else (values - low) / (high - low)
