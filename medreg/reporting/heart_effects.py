"""What conditions do to real and to made hearts: coefficients with intervals side by side, and the null ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from medreg.reporting.cells import NONE, number
from medreg.reporting.heart_distributions import source_legend
from medreg.reporting.heart_style import SOURCE_COLOURS
from medreg.reporting.heart_tables import MEASURES, SHOWN, measure
from medreg.reporting.panels import panels
from medreg.reporting.results import RunFolder
from medreg.reporting.style import MUTED, PALE
from medreg.reporting.tables import Cell, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# As conditions are called in the names of pooled rows: in print, where they are in the configuration, unit of a step.
CONDITIONS: Mapping[str, tuple[str, str, str]] = {
    "sex": ("men − women", "sex", ""),
    "age": ("age", "age_years", "years"),
    "height": ("height", "height_cm", "cm"),
    "weight": ("weight", "weight_kg", "kg"),
    "sbp": ("systolic pressure", "sbp_mmhg", "mmHg"),
}
PARTS = ("", "_low", "_high")
FORMS = (PARTS, ("_real", "_real_low", "_real_high"), ("_percent", "_low_percent", "_high_percent"))
NULL = "control"  # metric of effects that the population does not have


@dataclass(frozen=True)
class Effect:
    """A coefficient in made and in real hearts, in the unit of the measure per step.

    Attributes:
        measure: such as "lvedv_ml".
        condition: such as "age".
        made: value, low and high end of the 95 % interval.
        real: as `made`; NaN where not known.
        percent: the made one as a share of the real one, as `made`.
    """

    measure: str
    condition: str
    made: tuple[float, float, float]
    real: tuple[float, float, float]
    percent: tuple[float, float, float]


def effects_of(pooled: pd.DataFrame, *, prefix: str = "effect_") -> list[Effect]:
    """The effects among the pooled rows of a run.

    Args:
        pooled: rows of the case `population`.
        prefix: "effect_": with all other conditions held; "difference_": as they are.
    """
    values = lookup_of(pooled)
    found = []
    for name in MEASURES:
        for condition in conditions_in(pooled, prefix):
            key = f"{prefix}{condition}"
            if (name, key) in values:
                ends = [
                    tuple(values.get((name, f"{key}{form}"), np.nan) for form in forms) for forms in FORMS
                ]
                found.append(Effect(name, condition, *ends))  # type: ignore[arg-type]
    return found


def conditions_in(pooled: pd.DataFrame, prefix: str) -> list[str]:
    """The conditions that pooled rows tell of, the known ones first."""
    ends = (*(form for forms in FORMS for form in forms if form), "_se")
    names = [name.removeprefix(prefix) for name in pd.unique(pooled["metric"]) if name.startswith(prefix)]
    plain = [name for name in names if not name.endswith(ends)]
    return sorted(plain, key=lambda name: (list(CONDITIONS).index(name) if name in CONDITIONS else 99, name))


def lookup_of(pooled: pd.DataFrame) -> dict[tuple[str, str], float]:
    """Values by structure and metric."""
    keys = zip(pooled["structure"].astype(str), pooled["metric"].astype(str), strict=True)
    return dict(zip(keys, pooled["value"].astype(float), strict=True))


def condition_word(condition: str, steps: Mapping[str, float]) -> str:
    """How a condition and its step are called, such as "age (10 years)"."""
    label, name, unit = CONDITIONS.get(condition, (condition.replace("_", " "), condition, ""))
    step = steps.get(name)
    return f"{label} ({step:g} {unit})" if step and unit else label


def steps_of(run: RunFolder) -> dict[str, float]:
    """The steps by which a run told its effects, as its configuration says; empty where it does not."""
    import yaml

    try:
        tree: Any = yaml.safe_load(run.config) if run.config else {}
    except yaml.YAMLError:
        return {}
    for name in ("metrics", "pooling", "steps"):
        tree = tree.get(name) if isinstance(tree, Mapping) else None
    return {str(name): float(step) for name, step in tree.items()} if isinstance(tree, Mapping) else {}


def controls_of(pooled: pd.DataFrame) -> list[tuple[str, str]]:
    """Measure and condition of the effects that ought to be null for everybody."""
    names = pd.unique(pooled.loc[pooled["metric"] == f"{NULL}_percent", "structure"])
    parts = [str(name).split("_by_") for name in names]
    return [(part[0], part[1]) for part in parts if len(part) == 2]


def draw_effects(
    effects: Sequence[Effect],
    *,
    made: str,
    steps: Mapping[str, float],
    controls: Sequence[tuple[str, str]] = (),
) -> Figure | None:
    """Draw a panel a condition and two dots a measure, with 95 % intervals and the share of the real effect.

    Args:
        effects: of `effects_of`.
        made: source of the hearts that are not real.
        steps: condition → step.
        controls: effects that ought to be null; they are marked.

    Returns:
        The figure, or None without effects.
    """
    names = [name for name in SHOWN if any(effect.measure == name for effect in effects)]
    conditions = list(dict.fromkeys(effect.condition for effect in effects))
    if not names or not conditions:
        return None
    size = (2.05 * len(conditions) + 1.0, 0.42 * len(names) + 1.3)
    with panels(1, len(conditions), size=size, sharey=True) as (figure, axes):
        for axis, condition in zip(axes[0], conditions, strict=True):
            own = {effect.measure: effect for effect in effects if effect.condition == condition}
            _panel(axis, [own.get(name) for name in names], made, controls)
            axis.set_title(condition_word(condition, steps), loc="left")
        axes[0, 0].set_yticks(range(len(names)), [measure(name).heading for name in names])
        axes[0, 0].set_ylim(len(names) - 0.5, -0.5)
        figure.supxlabel("change of the measure in its unit, with 95 % interval", fontsize=9)
        source_legend(figure, ("real", made))
    return figure


def percent_table(effects: Sequence[Effect], steps: Mapping[str, float]) -> Table:
    """Effects of made hearts in per cent of the real ones, a row a measure and a column a condition."""
    names = list(dict.fromkeys(effect.measure for effect in effects))
    conditions = list(dict.fromkeys(effect.condition for effect in effects))
    known = {(effect.measure, effect.condition): effect for effect in effects}
    rows = []
    for name in names:
        found = [known.get((name, condition)) for condition in conditions]
        cells = [Cell(NONE) if effect is None else _percent_cell(effect) for effect in found]
        rows.append((Cell(measure(name).heading), *cells))
    header = ("measure", *(condition_word(condition, steps) for condition in conditions))
    notes = (
        "100 % is the effect in real hearts; a dash where its interval holds 0, so that a share has no meaning.",
    )
    return Table("Effects in per cent of the real ones, 95 % interval below", header, tuple(rows), notes)


def control_rows(pooled: pd.DataFrame, steps: Mapping[str, float]) -> Iterator[tuple[str, str, str]]:
    """What ought to be null: words, the value in made hearts, that in real ones, all per cent of the mean."""
    values = lookup_of(pooled)
    for structure in pd.unique(pooled.loc[pooled["metric"] == f"{NULL}_percent", "structure"]):
        name, _, rest = str(structure).partition("_by_")
        condition, _, sex = rest.partition("_")
        who = {"female": ", women, over the whole range", "male": ", men, over the whole range"}.get(sex, "")
        told = [
            interval(
                tuple(values.get((str(structure), f"{NULL}{end}{part}_percent"), np.nan) for part in PARTS)
            )
            for end in ("", "_real")
        ]
        known = condition_word(condition, {} if who else steps)
        yield f"{measure(name).label} by {known}{who}", told[0], told[1]


def interval(ends: tuple[float, ...], *, digits: int = 1, unit: str = " %") -> str:
    """A value with its interval, such as "1.2 % (0.3 to 2.1)"."""
    value, low, high = ends
    told = f"{number(value, digits, sign=True)}{unit}" if np.isfinite(value) else NONE
    return told + (f" ({number(low, digits)} to {number(high, digits)})" if np.isfinite(low) else "")


def _percent_cell(effect: Effect) -> Cell:
    value, low, high = effect.percent
    if not (np.isfinite(value) and _sure(effect)):
        return Cell(NONE)
    return Cell(f"{number(value, 0)} %", f"{number(low, 0)} to {number(high, 0)}")


def _panel(
    axis: Axes, effects: Sequence[Effect | None], made: str, controls: Sequence[tuple[str, str]]
) -> None:
    """Dots and whiskers of one condition."""
    axis.axvline(0.0, color=MUTED, linewidth=0.8)
    for row, effect in enumerate(effects):
        if effect is None:
            continue
        null = (effect.measure, effect.condition) in controls
        if null:
            axis.axhspan(row - 0.45, row + 0.45, color=PALE, alpha=0.6, linewidth=0)
        for source, ends, up in (("real", effect.real, -0.16), (made, effect.made, 0.16)):
            value, low, high = ends
            colour = SOURCE_COLOURS[source]
            axis.plot([low, high], [row + up] * 2, color=colour, linewidth=1.4)
            fill = "white" if null else colour
            axis.plot(value, row + up, marker="o", markersize=4, color=colour, markerfacecolor=fill)
        value = effect.percent[0]
        if np.isfinite(value):
            told = "null" if null else f"{number(value, 0)} %" if _sure(effect) else ""
            axis.text(
                1.0, row, told, transform=axis.get_yaxis_transform(), fontsize=7, ha="right", va="center"
            )
    low, high = axis.get_xlim()
    axis.set_xlim(low, high + 0.22 * (high - low))  # room for the shares
    axis.grid(axis="x")
    axis.set_axisbelow(True)
    axis.tick_params(axis="y", length=0)


def _sure(effect: Effect) -> bool:
    """Whether the real effect is not null by its interval, so that a share of it has a meaning."""
    return bool(effect.real[1] > 0 or effect.real[2] < 0)
